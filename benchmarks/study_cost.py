"""What a study costs beside its training, and what sharing templates and stopping early save.

Real commands on small studies, so figures are wall time: they need a quiet machine. A few minutes.
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

ROOT = Path(__file__).resolve().parent.parent
_LONGEST = 3000.0  # seconds of one command


@dataclass(frozen=True)
class Ran:
    """A study that ended: its table, the seconds it took, and the last line it printed."""

    trials: pd.DataFrame
    wall: float
    last_line: str


def measure(*, quick: bool = False, sizes: dict[str, int] | None = None) -> list[Row]:
    """The rows of this part. ``sizes`` may change the number of trials or epochs."""
    used = {"trivial": 200, "shared": 4, "asha": 18, "epochs": 9, "demo": 1}
    if quick:
        used = {"trivial": 8, "shared": 2, "asha": 2, "epochs": 3, "demo": 0}
    used |= sizes or {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        place = Path(folder)
        rows = [fixed_cost(place / "fixed", whole_demo=bool(used["demo"]), epochs=used["epochs"])]
        rows.append(driver_time(place / "trivial", used["trivial"]))
        rows.append(shared_templates(place / "shared", used["shared"], used["epochs"]))
        rows.append(early_stopping(place / "asha", used["asha"]))
    return rows


def fixed_cost(place: Path, *, whole_demo: bool, epochs: int) -> Row:
    """Share of a study's wall time in which no trial computes."""
    if whole_demo:
        arguments = ["--space", "demo.yaml"]
        ran, name = run_study(place, arguments, "demo"), "demo study"
    else:
        settings = small_space(trials=2, epochs=epochs)
        ran, name = run_study(place, ["--space", _written(place, settings)], "small"), "small study"
    share = 1 - computing(ran.trials) / ran.wall
    return Row(
        what=f"fixed cost of the {name}",
        unit="share of the wall time",
        how=f"{ran.wall:.0f} s in all, {len(ran.trials)} trials; the time in which no trial "
        "computes: start of Ray and of workers, imports, tables; at most 0.15 is the aim",
        ours=Spread.of([share]),
        notes={"seconds": ran.wall},
    )


def driver_time(place: Path, trials: int) -> Row:
    """The driver's own CPU time for trials that do nothing."""
    settings = small_space(trials=trials, epochs=1)
    script = ROOT / "benchmarks" / "trivial_study.py"
    ran = run_study(place, ["--space", _written(place, settings)], "small", script)
    seconds = json.loads(ran.last_line)["driver_seconds"]
    return Row(
        what=f"driver's time for each of {trials} trivial trials",
        unit="CPU-seconds of the driver",
        how=f"start and end of the study included; wall time {ran.wall / trials:.2f} s a trial; at "
        "most 0.3 is the aim",
        ours=Spread.of([seconds / trials]),
        notes={"wall_per_trial": ran.wall / trials},
    )


def shared_templates(place: Path, trials: int, epochs: int) -> Row:
    """Seconds in trials, with the template shared and with one in every trial."""
    costs = {}
    for reuse in (True, False):
        settings = small_space(trials=trials, epochs=epochs)
        settings["trial"]["template"]["reuse"] = reuse
        settings["resources"]["max_concurrent"] = 1  # no trial waits for another's template
        here = place / str(reuse)
        ran = run_study(here, ["--space", _written(here, settings)], "small")
        costs[reuse] = float(ran.trials["seconds"].sum())
    return Row(
        what=f"one template for {trials} trials",
        unit="studies per hour of training",
        how=f"sum over trials of their seconds, one at a time; one for each trial instead; "
        f"{trials} trials in 1 + {trials} stages instead of {2 * trials}",
        ours=Spread.of([3600 / costs[True]]),
        baseline=Spread.of([3600 / costs[False]]),
        ratio=Spread.of([costs[False] / costs[True]]),
    )


def early_stopping(place: Path, trials: int) -> Row:
    """Epochs of FocusNet with ASHA and without, and the best accuracy on select of both.

    The two searches have the same trials, one at a time, so that what ASHA stops does not depend on
    which of two ended first.
    """
    epochs_done, best = {}, {}
    for name in ("asha", "none"):
        settings = demo_search(trials, scheduler=name)
        here = place / name
        run_study(here, ["--space", _written(here, settings)], "search")
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
    """The demo's search on a quarter of the training clips, with nothing after it."""
    settings = read_yaml(ROOT / "search_spaces" / "demo.yaml")
    settings["name"] = "search"
    settings["search"] |= {"trials": trials, "scheduler": {"name": scheduler}}
    if scheduler == "asha":
        settings["search"]["scheduler"] |= {"grace_epochs": 2, "reduction_factor": 3}
    settings["resources"]["max_concurrent"] = 1
    settings["controls"] = {"arms": []}
    settings["confirm"] = {"seeds": 0}
    settings["space"]["data.subset"] = {"choice": [25]}
    return dict(settings)


def computing(trials: pd.DataFrame) -> float:
    """Seconds in which at least one trial computed: from its first second to its results."""
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


def run_study(place: Path, arguments: Sequence[str], name: str, script: Path | None = None) -> Ran:
    """Run the study's command to its end, with a cache of its own.

    Raises:
        RuntimeError: it failed, with what it printed last.
    """
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(script or ROOT / "study" / "run.py"), *arguments]
    command += ["--results", str(place / "results")]
    started = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, "FOCUSNET_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=_LONGEST,
    )
    wall = time.monotonic() - started
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"a study ended with status {done.returncode}:\n{said}")
    table = pd.read_parquet(place / "results" / name / "trials.parquet")
    return Ran(table, wall, done.stdout.strip().splitlines()[-1])


def _written(place: Path, settings: dict[str, Any]) -> str:
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{settings['name']}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)
