"""Measures a study's overhead, and what shared templates and early stopping save.

It runs the real commands on small studies for a few minutes and measures wall time, so it needs an
otherwise idle machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.measure import Row, Spread
from focusnet.system.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT = 3000.0  # seconds for one command


@dataclass(frozen=True)
class FinishedStudy:
    """A finished study: its table, the seconds it took, and its last line of output."""

    trials: pd.DataFrame
    wall: float
    last_line: str


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part."""
    trivial, shared, asha, epochs = (8, 2, 2, 3) if quick else (200, 4, 18, 9)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        return [
            fixed_cost(folder / "fixed", whole_demo=not quick, epochs=epochs),
            driver_time(folder / "trivial", trivial),
            shared_templates(folder / "shared", shared, epochs),
            early_stopping(folder / "asha", asha),
        ]


def fixed_cost(folder: Path, *, whole_demo: bool, epochs: int) -> Row:
    """Share of a study's wall time in which no trial computes."""
    if whole_demo:
        arguments, name = ["--space", "demo.yaml"], "demo"
    else:
        settings = small_space(trials=2, epochs=epochs)
        arguments, name = ["--space", _write_space(folder, settings)], "small"
    ran = run_study(folder, arguments, name)
    share = 1 - computing(ran.trials) / ran.wall
    return Row(
        what=f"overhead of the {name} study",
        unit="share of the wall time",
        how=f"{ran.wall:.0f} s in total, {len(ran.trials)} trials; the time in which no trial "
        "computes: start of Ray and of workers, imports, tables; aim: at most 0.15",
        ours=Spread.of([share]),
        notes={"seconds": ran.wall},
    )


def driver_time(folder: Path, trials: int) -> Row:
    """The driver's CPU time per trial, for trials that do nothing."""
    settings = small_space(trials=trials, epochs=1)
    script = ROOT / "benchmarks" / "trivial_study.py"
    ran = run_study(folder, ["--space", _write_space(folder, settings)], "small", script)
    seconds = json.loads(ran.last_line)["driver_seconds"]
    return Row(
        what=f"driver's time per trial, {trials} trials that do nothing",
        unit="CPU-seconds of the driver",
        how=f"including start and end of the study; wall time {ran.wall / trials:.2f} s per trial; "
        "aim: at most 0.3",
        ours=Spread.of([seconds / trials]),
        notes={"wall_per_trial": ran.wall / trials},
    )


def shared_templates(folder: Path, trials: int, epochs: int) -> Row:
    """Seconds of all trials, with a shared template and with a template per trial."""
    costs = {}
    for reuse in (True, False):
        settings = small_space(trials=trials, epochs=epochs)
        settings["trial"]["template"]["reuse"] = reuse
        settings["resources"]["max_concurrent"] = 1  # no trial waits for another's template
        here = folder / str(reuse)
        ran = run_study(here, ["--space", _write_space(here, settings)], "small")
        costs[reuse] = float(ran.trials["seconds"].sum())
    return Row(
        what=f"one template for {trials} trials",
        unit="studies per hour of training",
        how=f"sum of the trials' seconds, one trial at a time; baseline: a template per trial; "
        f"{trials} trials in 1 + {trials} stages instead of {2 * trials}",
        ours=Spread.of([3600 / costs[True]]),
        baseline=Spread.of([3600 / costs[False]]),
        ratio=Spread.of([costs[False] / costs[True]]),
    )


def early_stopping(folder: Path, trials: int) -> Row:
    """FocusNet epochs with ASHA and without, and the best accuracy on select of both.

    Both searches run the same trials, one at a time, so that ASHA's decisions do not depend on the
    order in which concurrent trials end.
    """
    epochs_done, best = {}, {}
    for name in ("asha", "none"):
        settings = demo_search(trials, scheduler=name)
        here = folder / name
        run_study(here, ["--space", _write_space(here, settings)], "search")
        results = here / "results" / "search"
        table = pd.read_parquet(results / "epochs.parquet")
        epochs_done[name] = float((table["stage"] == "focus").sum())
        metric = "focus/select/macro_accuracy"
        best[name] = float(pd.read_parquet(results / "trials.parquet")[metric].max())
    return Row(
        what=f"stopping early (ASHA), {trials} trials",
        unit="searches per 1,000 FocusNet epochs",
        how=f"the demo on 25 % of the clips; {epochs_done['asha']:.0f} FocusNet epochs instead of "
        f"{epochs_done['none']:.0f}; best accuracy on select {best['asha']:.3f} with, "
        f"{best['none']:.3f} without",
        ours=Spread.of([1000 / epochs_done["asha"]]),
        baseline=Spread.of([1000 / epochs_done["none"]]),
        ratio=Spread.of([epochs_done["none"] / epochs_done["asha"]]),
        notes={"best_with": best["asha"], "best_without": best["none"]},
    )


def demo_search(trials: int, *, scheduler: str) -> dict[str, Any]:
    """The demo's search on a quarter of the training clips, without controls or confirmation."""
    settings = read_yaml(ROOT / "search_spaces" / "demo.yaml")
    settings["name"] = "search"
    settings["search"] |= {"trials": trials, "scheduler": {"name": scheduler}}
    if scheduler == "asha":
        settings["search"]["scheduler"] |= {"grace_epochs": 2, "reduction_factor": 3}
    settings["resources"]["max_concurrent"] = 1
    settings["trial"]["compute"]["eval_epochs"] = 1  # stopping early looks at each epoch
    settings["controls"] = {"arms": []}
    settings["confirm"] = {"seeds": 0}
    settings["space"]["data.subset"] = {"choice": [25]}
    return dict(settings)


def computing(trials: pd.DataFrame) -> float:
    """Seconds in which at least one trial computed."""
    ended = pd.to_datetime(trials["ended"], format="ISO8601", utc=True)
    spans = sorted(
        (end.timestamp() - seconds, end.timestamp())
        for end, seconds in zip(ended, trials["seconds"], strict=True)
    )
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def small_space(*, trials: int, epochs: int) -> dict[str, Any]:
    """A study of one stratum on a small synthetic data set."""
    synthetic = {"train_locations": 4, "test_locations": 2, "clips_per_location": 4}
    return {
        "name": "small",
        "search": {"algorithm": "random", "trials": trials, "stratify": "data.subset"},
        "controls": {"arms": []},
        "confirm": {"seeds": 0},
        "resources": {"cpu": 1},
        "space": {
            "data.subset": {"choice": [100]},
            "focus.weight": {"loguniform": [0.1, 10.0]},
        },
        "trial": {
            "data": {"root": "synthetic", "synthetic": synthetic},
            "features": {"sample_rate": 16_000},
            "augment": {"patchout_freq": 2, "freq_mask": 8, "roll": 1000},
            "model": {"size": "tiny", "weights": "none", "max_frames": 100},
            "template": {"epochs": epochs, "batch_size": 8, "lr": 1e-3},
            "compute": {"device": "cpu"},
        },
    }


def run_study(
    folder: Path, arguments: Sequence[str], name: str, script: Path | None = None
) -> FinishedStudy:
    """Run a study's command; results and a separate cache go to ``folder``.

    Raises:
        RuntimeError: it failed; the message ends with its last lines of output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(script or ROOT / "study" / "run.py"), *arguments]
    command += ["--results", str(folder / "results")]
    started = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, "FOCUSNET_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    wall = time.monotonic() - started
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"a study ended with status {done.returncode}:\n{output}")
    table = pd.read_parquet(folder / "results" / name / "trials.parquet")
    return FinishedStudy(table, wall, done.stdout.strip().splitlines()[-1])


def _write_space(folder: Path, settings: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{settings['name']}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)
