"""Kill a real study at many points and hold what it ends with against an undisturbed one.

    python benchmarks/faults.py [--faults N] [--seed S] [--keep DIR]

Each fault is one study on a small synthetic data set, run by the real command: a process of it is
killed at a chosen moment, the study goes on (with --resume where its driver died), and its
trials.parquet must equal that of the undisturbed study but for times. The last line sums up.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from focusnet.synthetic import make_dataset  # noqa: E402
from study.ledger import Ledger, Trial  # noqa: E402

EPOCHS = 6
TRIALS = 2  # per stratum
STRATA = (50, 100)
PATIENCE = 300.0  # seconds for a moment to come, and for a study to end
TIMES = ("seconds", "started", "ended", "attempts", "template_reused")

# Put on the path of every process of a study: the one that renames a file of the given name dies
# just before it does, once in the study.
ASSASSIN = """
import os, pathlib, signal
pattern, marker = os.environ["FAULT_NAME"], os.environ["FAULT_MARKER"]
replace = pathlib.Path.replace
def replace_or_die(self, target):
    if pattern in pathlib.Path(target).name and pathlib.Path(target).suffix != ".lock":
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return replace(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
pathlib.Path.replace = replace_or_die
"""


@dataclass(frozen=True)
class Seen:
    """A look at a running study."""

    trials: list[Trial]
    workers: dict[str, int]  # process of each running trial
    driver: int


# The process to kill, or None while the moment has not come.
Victim = Callable[[Seen], int | None]


@dataclass(frozen=True)
class Fault:
    """One kill: the moment, as a look that gives the process, and the signal."""

    name: str
    victim: Victim | None
    number: signal.Signals = signal.SIGKILL
    renaming: str = ""  # instead of ``victim``: die before renaming a file of such a name


def _worker_in(stage: str, epoch: int) -> Victim:
    def victim(seen: Seen) -> int | None:
        for trial in seen.trials:
            past = stage == "template" and _epoch(trial, "focus")
            if trial.id in seen.workers and _epoch(trial, stage) >= epoch and not past:
                return seen.workers[trial.id]
        return None

    return victim


def _driver_in(stage: str, epoch: int) -> Victim:
    def victim(seen: Seen) -> int | None:
        there = any(_epoch(trial, stage) >= epoch for trial in seen.trials)
        return seen.driver if there else None

    return victim


def _driver_after(finished: int) -> Victim:
    def victim(seen: Seen) -> int | None:
        done = sum(trial.status == "finished" for trial in seen.trials)
        return seen.driver if done >= finished else None

    return victim


def _waiter(seen: Seen) -> int | None:
    """A worker that has begun and waits for the template that another one builds."""
    building = {trial.stratum for trial in seen.trials if _epoch(trial, "template") >= 2}
    for trial in seen.trials:
        if trial.id in seen.workers and not trial.epochs and trial.stratum in building:
            return seen.workers[trial.id]
    return None


def _epoch(trial: Trial, stage: str) -> int:
    return max((r["epoch"] for r in trial.epochs if r.get("stage") == stage), default=0)


def matrix(seed: int) -> list[Fault]:
    """All faults, in an order that ``seed`` shuffles, at epochs that it draws."""
    draw = random.Random(seed)
    faults = [Fault("a waiting trial, SIGKILL", _waiter)]
    for number in (signal.SIGKILL, signal.SIGTERM):
        for stage in ("template", "focus"):
            for _ in range(2):
                epoch = draw.randint(1, EPOCHS - 1)
                at = f"{stage} epoch {epoch}, {number.name}"
                faults.append(Fault(f"a worker in {at}", _worker_in(stage, epoch), number))
                faults.append(Fault(f"the driver in {at}", _driver_in(stage, epoch), number))
        finished = draw.randint(1, TRIALS * len(STRATA) - 1)
        after = f"after {finished} trials, {number.name}"
        faults.append(Fault(f"the driver {after}", _driver_after(finished), number))
    for name in (
        "trial.json",
        "started.json",
        "checkpoint.pt",
        "template.json",
        "weights.safetensors",
        "predictions.parquet",
        "result.json",
        "trials.parquet",
    ):
        faults.append(Fault(f"between write and rename of {name}", None, renaming=name))
    draw.shuffle(faults)
    return faults


class Studies:
    """Runs studies in a folder of their own, each with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        make_dataset(
            self.data,
            train_locations=4,
            test_locations=2,
            clips_per_location=4,
            seed=0,
            progress=False,
        )
        self.space = folder / "faults.yaml"
        settings = {
            "name": "faults",
            "search": {"algorithm": "random", "trials": TRIALS, "stratify": "data.subset"},
            "resources": {"cpu": 1, "max_concurrent": 2},
            "space": {
                "data.subset": {"choice": list(STRATA)},
                "focus.weight": {"loguniform": [0.1, 10.0]},
            },
            "trial": {
                "data": {"root": str(self.data)},
                "features": {"sample_rate": 16_000},
                "augment": {"patchout_freq": 2, "freq_mask": 8, "roll": 1000},
                "model": {"size": "tiny", "weights": "none", "max_frames": 100},
                "template": {"epochs": EPOCHS, "batch_size": 8, "lr": 1e-3, "keep": "best"},
                "compute": {"device": "cpu"},
            },
        }
        self.space.write_text(yaml.safe_dump(settings))

    def start(self, place: Path, renaming: str = "") -> subprocess.Popen[str]:
        """Start (or resume) the study in ``place``; its output goes to files there."""
        place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "FOCUSNET_CACHE": str(place / "cache")}
        if renaming:
            (place / "path").mkdir(exist_ok=True)
            (place / "path" / "sitecustomize.py").write_text(ASSASSIN)
            environment |= {
                "PYTHONPATH": str(place / "path"),
                "FAULT_NAME": renaming,
                "FAULT_MARKER": str(place / "killed"),
            }
        command = [sys.executable, ROOT / "study" / "run.py", "--space", self.space]
        with (place / "output.txt").open("a") as output:
            return subprocess.Popen(
                [*map(str, command), "--results", str(place / "results"), "--resume"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def look(self, place: Path, driver: int) -> Seen:
        """What the study's ledger holds by now."""
        ledger = Ledger(place / "results" / "faults")
        trials = ledger.trials()
        workers = {}
        for trial in trials:
            if trial.status == "running":
                record = (ledger.trial_folder(trial.id) / "started.json").read_text()
                workers[trial.id] = int(json.loads(record)["pid"])
        return Seen(trials, workers, driver)

    def table(self, place: Path) -> pd.DataFrame:
        """trials.parquet without what may differ: times and attempts."""
        table = pd.read_parquet(place / "results" / "faults" / "trials.parquet")
        timed = [c for c in table if c in TIMES or c.endswith("/seconds")]
        return table.drop(columns=timed).sort_values("trial").reset_index(drop=True)

    def endure(self, fault: Fault, place: Path) -> bool:
        """Run the study with ``fault``; whether the fault came about."""
        driver = self.start(place, fault.renaming)
        struck = False
        deadline = time.monotonic() + PATIENCE
        while driver.poll() is None and time.monotonic() < deadline:
            if fault.victim is not None and not struck:
                pid = fault.victim(self.look(place, driver.pid))
                if pid is not None:
                    os.kill(pid, fault.number)
                    struck = True
            time.sleep(0.02)
        for _ in range(3):  # a dead or interrupted driver is started again, as a user would
            if driver.wait(timeout=PATIENCE) == 0:
                break
            driver = self.start(place, fault.renaming)
        return struck or (place / "killed").exists()


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 1 where a fault cost anything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, help="how many of the matrix (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of order and moments (default: 0)")
    parser.add_argument("--keep", type=Path, help="folder for the studies (default: removed)")
    options = parser.parse_args(arguments)
    folder = (options.keep or Path(tempfile.mkdtemp(prefix="faults-"))).absolute()
    studies = Studies(folder)
    undisturbed = folder / "undisturbed"
    if studies.start(undisturbed).wait(timeout=PATIENCE) != 0:
        print((undisturbed / "output.txt").read_text(), file=sys.stderr)
        return 1
    expected = studies.table(undisturbed)
    survived = lost = repeated = changed = missed = 0
    faults = matrix(options.seed)[: options.faults]
    for number, fault in enumerate(faults):
        place = folder / f"fault-{number:02}"
        started = time.monotonic()
        if not studies.endure(fault, place):
            missed += 1
            print(f"{fault.name}: the moment did not come", flush=True)
            continue
        table = studies.table(place)
        ids = table["trial"]
        lost_here = len(set(expected["trial"]) - set(ids[table["status"] == "finished"]))
        repeated_here = int(ids.duplicated().sum()) + len(set(ids) - set(expected["trial"]))
        same = expected.columns.equals(table.columns) and len(table) == len(expected)
        changed_here = -1
        if same:
            equal = expected.eq(table) | (expected.isna() & table.isna())
            changed_here = int((~equal).to_numpy().sum())
        fine = not (lost_here or repeated_here or changed_here)
        survived += fine
        lost, repeated, changed = lost + lost_here, repeated + repeated_here, changed + changed_here
        print(
            f"{fault.name}: {'survived' if fine else f'FAILED, see {place}'}, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
        if fine and options.keep is None:
            shutil.rmtree(place)
    struck = len(faults) - missed
    if survived == struck and options.keep is None:
        shutil.rmtree(folder)
    print(
        f"{struck} faults, {survived} survived, {lost} trials lost, {repeated} repeated, "
        f"{changed} metrics changed" + (f"; {missed} moments did not come" if missed else "")
    )
    return int(survived < struck or struck == 0)


if __name__ == "__main__":
    sys.exit(main())
