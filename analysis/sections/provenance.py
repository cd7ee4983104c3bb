"""Shows where the numbers come from: search, code, data, hardware, time and versions."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from analysis.read_study import Study
from analysis.render.document import MISSING, Block, Bullets, Section, counted
from analysis.tables.parameters import show

SHOWN = 5  # skipped clips that are named
GIB = 2**30


def provenance_section(study: Study) -> Section:
    """The study's settings and everything that provenance.json records."""
    runs = study.provenance.get("runs", [])
    rows = [
        ("study", study.name),
        ("search", _search(study)),
        ("seed", str(study.provenance.get("seed", study.search.get("seed", MISSING)))),
        ("code", _of_runs(runs, lambda run: _git(run.get("git")))),
        ("hardware", _of_runs(runs, lambda run: _hardware(run.get("hardware", {})))),
        ("cluster", _of_runs(runs, lambda run: _nodes(run.get("nodes", [])))),
        ("versions", _of_runs(runs, _versions)),
        ("time", _time(study, runs)),
        ("templates", _templates(study)),
    ]
    blocks: list[Block] = [
        Bullets([f"{name}: {text}" for name, text in rows]),
        *(Bullets([*_data(record)]) for record in study.provenance.get("data", [])),
        Bullets([_run(run) for run in runs]),
    ]
    return Section("Provenance", blocks)


def _search(study: Study) -> str:
    search = study.search
    scheduler = search.get("scheduler") or {}
    name = scheduler.get("name", "none") if isinstance(scheduler, Mapping) else str(scheduler)
    ranges = "; ".join(f"{path} {one}" for path, one in study.parameters.items())
    numbers = [study.trials_asked(stratum.value) for stratum in study.strata]
    trials = f"{numbers[0]} trials"
    if len(set(numbers)) > 1:
        each = (f"{n} for {show(s.value)}" for n, s in zip(numbers, study.strata, strict=True))
        trials = f"trials by {study.stratify}: {', '.join(each)}"
    elif study.stratify:
        trials += f" for each {study.stratify}"
    return (
        f"{search.get('algorithm', MISSING)}, {trials}, maximises "
        f"{study.metric}, scheduler {name}; {ranges}"
    )


def _of_runs(runs: Iterable[Mapping[str, Any]], describe: Callable[[Any], str]) -> str:
    """Describe all runs; what is the same for all of them is said once."""
    return " | then: ".join(dict.fromkeys(describe(run) for run in runs)) or MISSING


def _git(git: Mapping[str, Any] | None) -> str:
    if not git:
        return "not from a git repository"
    return f"git {git['revision'][:12]}" + (" with uncommitted changes" if git["dirty"] else "")


def _hardware(hardware: Mapping[str, Any]) -> str:
    gpus = ", ".join(hardware.get("gpus") or []) or "no GPU"
    memory = hardware.get("memory_bytes", 0) / GIB
    return (
        f"{hardware.get('cpu', MISSING)}, {hardware.get('cores', MISSING)} cores, "
        f"{memory:.0f} GiB memory, {gpus}, {hardware.get('system', MISSING)}"
    )


def _nodes(nodes: Iterable[Mapping[str, float]]) -> str:
    described = [
        f"{node.get('CPU', 0):g} CPU" + (f" {node['GPU']:g} GPU" if node.get("GPU") else "")
        for node in nodes
    ]
    return counted(len(described), "node") + (f" ({', '.join(described)})" if described else "")


def _versions(run: Mapping[str, Any]) -> str:
    packages = run.get("packages", {})
    listed = [f"{name} {version}" for name, version in packages.items() if version]
    return ", ".join([f"Python {run.get('python', MISSING)}", *listed])


def _time(study: Study, runs: Iterable[Mapping[str, Any]]) -> str:
    spans = [minutes for run in runs if (minutes := _minutes(run)) is not None]
    wall = f"{sum(spans):.1f} minutes in {counted(len(spans), 'ended run')}"
    if "seconds" not in study.trials:
        return wall
    seconds = study.trials["seconds"].dropna().astype(float)
    trials = counted(len(seconds), "finished trial")
    return f"{wall}; {seconds.sum() / 60:.1f} minutes in {trials}, added up"


def _minutes(run: Mapping[str, Any]) -> float | None:
    if not run.get("started") or not run.get("ended"):
        return None
    span = datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])
    return span.total_seconds() / 60


def _templates(study: Study) -> str:
    if "template_reused" not in study.trials or "template_key" not in study.trials:
        return MISSING
    finished = study.trials[study.trials["status"] == "finished"]
    reused = finished["template_reused"].dropna().astype(bool)
    different = finished["template_key"].nunique()
    return (
        f"{(~reused).sum()} trained and {reused.sum()} reused by the finished trials, "
        f"{different} distinct"
    )


def _data(record: Mapping[str, Any]) -> Iterable[str]:
    yield f"data: {record.get('root', MISSING)}"
    if "clips" in record:
        yield (
            f"{record['clips']} clips at {record['sample_rate']} Hz, "
            f"{len(record['classes'])} scenes: {', '.join(record['classes'])}"
        )
        yield f"fingerprint {record['fingerprint']}"
    skipped = record.get("skipped", [])
    if not skipped:
        yield "no clip was skipped"
        return
    names = "; ".join(skipped[:SHOWN])
    rest = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
    yield f"{counted(len(skipped), 'clip')} skipped: {names}{rest}"


def _run(run: Mapping[str, Any]) -> str:
    minutes = _minutes(run)
    took = "running or killed" if minutes is None else f"{minutes:.1f} minutes"
    outcome = f", {run['outcome']}" if run.get("outcome") else ""
    return f"run of {run.get('started', MISSING)}, {took}{outcome}: {shlex.join(run['command'])}"
