"""Describes the state of a study in words, from the files in its folder."""

import json
import os
import shlex
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from focusnet.system.units import rough_time
from focusnet.trial.folder import WAITING
from focusnet.winner import POSTERIOR_MEAN
from study.console.look_text import headline
from study.console.progress import stopped_after
from study.ledger.driver import Driver, last_driver
from study.ledger.ledger import ENDED, Ledger, Trial
from study.ledger.records import PHASES
from study.outputs.provenance import FILE as PROVENANCE
from study.search.to_come import ToCome, to_come
from study.search.winners import best_trials, winners
from study.space.recorded import validate_recorded
from study.space.space import Space

# In the order in which a person looks for them. 'left': started by an earlier driver, not ended.
_COUNTED = ("finished", "stopped", "failed", "running", "left", "pending")
_LAST_FINISHED = 3


def describe_study(ledger: Ledger, now: datetime) -> str:
    """Driver, counts, what runs, what failed, and the best of each stratum.

    ``now`` is in UTC. Raises ConfigError if ``space.yaml`` is not valid.
    """
    folder = ledger.folder
    driver, alive = last_driver(folder), ledger.is_running()
    if not ledger.exists():
        state = "is preparing its data" if alive else "ended before the study began"
        return f"Study {folder.name}: {driver or 'its process'} {state}; no trial yet"
    space = validate_recorded(ledger.space(), str(ledger.space_path))
    since = driver.since if driver and alive else None
    trials = ledger.trials()
    in_state: dict[str, list[Trial]] = {}
    for trial in trials:
        in_state.setdefault(_state(trial, since), []).append(trial)
    left = to_come(space, trials, ledger.looks())
    total = len(trials) + sum(left.counts.values())
    count = Counter({state: len(those) for state, those in in_state.items()})
    count["pending"] += total - len(trials)
    most = "up to " if left.at_most else ""
    lines = [f"Study {space.name}: {most}{total} trials ({_counts(count)})"]
    if space.follow_ups:
        lines.append(_phases(trials, left))
    lines += [f"  look    {line}" for line in (headline(space, one) for one in ledger.looks())]
    lines += _driver(driver, alive, count, folder, now)

    def section(heading: str, state: str, line: Callable[[Trial], str]) -> None:
        if state in in_state:
            lines.extend(["", heading])
            lines.extend(f"  {line(trial)}" for trial in in_state[state])

    def under_way(trial: Trial) -> str:
        return _under_way(ledger, trial, now)

    section("Running", "running", under_way)
    section("Waiting" if alive else "Interrupted, resumed by --resume", "left", under_way)
    section(
        "Failed (why: error.txt and trial.log in the folder trials/TRIAL)",
        "failed",
        lambda trial: f"{trial.id}: {trial.error}",
    )
    metric = space.search.metric
    section(
        "Stopped early",
        "stopped",
        lambda trial: f"{trial.id}: {stopped_after(trial, metric)}",
    )
    finished = sorted(in_state.get("finished", []), key=lambda trial: trial.ended or "")
    if finished:
        lines += ["", f"Finished last ({len(finished)} in all: trials.parquet)"]
        for trial in finished[: -_LAST_FINISHED - 1 : -1]:
            when = f", {_ago(trial.ended, now)} ago" if trial.ended else ""
            lines.append(f"  {trial.id}{when}")
    lines += ["", f"Best by {metric} (of many trials, so partly luck)", *_best(space, trials)]
    return "\n".join(lines)


def _state(trial: Trial, since: str | None) -> str:
    """The status; 'left' if it was started before the living driver (at ``since``), or has none."""
    if trial.status == "running" and (since is None or (trial.started or "") < since):
        return "left"
    return trial.status


def _counts(count: Counter[str]) -> str:
    words = {"left": "interrupted", "pending": "to come"}
    shown = [f"{count[name]} {words.get(name, name)}" for name in _COUNTED if count[name]]
    return ", ".join(shown)


def _phases(trials: list[Trial], left: ToCome) -> str:
    """How many trials have ended of the search and of what follows it."""
    parts = []
    for phase in PHASES:
        own = [trial for trial in trials if trial.phase == phase]
        total = len(own) + left.of_phase(phase)
        most = "up to " if left.at_most and phase != "search" else ""
        if total:
            ended = sum(trial.status in ENDED for trial in own)
            parts.append(f"{phase} {ended} of {most}{total}")
    return f"  ended   {', '.join(parts)}"


def _driver(
    driver: Driver | None, alive: bool, count: Counter[str], folder: Path, now: datetime
) -> Iterator[str]:
    if driver is None:
        yield "  driver  no record of one"
    elif alive:
        yield f"  driver  {driver}, running for {_ago(driver.since, now)}"
    else:
        yield f"  driver  not running; {driver}{_last_end(folder, now)}"
        steps = []
        if count["left"] or count["pending"]:
            steps.append(("resume", driver.resume))
        elif count["failed"]:
            steps.append(("run the failed trials again", f"{driver.resume} --retry-failed"))
        for what, command in steps:
            elsewhere = driver.folder != _current_folder()
            where = f"cd {shlex.quote(driver.folder)} && " if elsewhere else ""
            yield f"  {what}: {where}{command}"


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it has been removed
        return None


def _last_end(folder: Path, now: datetime) -> str:
    """How the last run ended, as far as it could record that."""
    try:
        run = json.loads((folder / PROVENANCE).read_text())["runs"][-1]
    except (OSError, ValueError, LookupError):
        return " ran it last"
    if not run.get("outcome"):
        return " died without recording an end (killed, or its machine went down)"
    return f" ended {_ago(run['ended'], now)} ago ({run['outcome']})"


def _under_way(ledger: Ledger, trial: Trial, now: datetime) -> str:
    waiting = ledger.trial_folder(trial.id) / WAITING
    if waiting.is_file():
        at = _waiting(waiting)
    elif trial.epochs:
        last = trial.epochs[-1]
        at = f"{last['stage']} {last['epoch']}/{last['epochs']}"
    else:
        at = "starting"
    started = datetime.fromisoformat(trial.started) if trial.started else now
    text = f"{trial.id}: {at}; since {started.astimezone():%H:%M} ({_ago(trial.started, now)})"
    if trial.host and trial.host != socket.gethostname():
        text += f" on {trial.host}"
    if trial.attempts > 1:
        text += f", attempt {trial.attempts}"
    epochs = ledger.trial_folder(trial.id) / "epochs.jsonl"
    if trial.epochs and epochs.is_file():
        text += f", last epoch {_time(now.timestamp() - epochs.stat().st_mtime)} ago"
    return text


def _waiting(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["at"])
    except (OSError, ValueError, LookupError):  # the trial has just gone on to a stage
        return "waiting for template"


def _best(space: Space, trials: list[Trial]) -> Iterator[str]:
    metric = space.search.metric
    best, decided = best_trials(trials, metric), winners(space, trials)
    for stratum in space.strata:
        own = [trial for trial in trials if trial.searched and trial.stratum == stratum]
        finished = sum(trial.status == "finished" for trial in own)
        label = space.label(stratum) or "all"
        text = f"  {label}: {finished} of {space.trials_of(stratum)} finished"
        if stratum in best:
            trial = best[stratum]
            text += f", best {100 * trial.metrics[metric]:.1f} %, {trial.id}"
        yield text
        winner = decided.get(stratum)
        if winner is not None and winner.rule == POSTERIOR_MEAN:
            yield f"    winner: {winner.described}, estimated {100 * winner.estimate:.1f} %"
        if winner is not None and winner.doubt:
            yield f"    {winner.doubt}"


def _ago(moment: str | None, now: datetime) -> str:
    if moment is None:
        return "?"
    return _time((now - datetime.fromisoformat(moment)).total_seconds())


def _time(seconds: float) -> str:
    # The clocks of two machines may differ a little: never less than nothing.
    return f"{max(0.0, seconds):.0f} s" if seconds < 90 else rough_time(seconds)


def utc_now() -> datetime:
    return datetime.now(UTC)
