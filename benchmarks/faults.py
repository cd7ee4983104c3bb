"""Kill a real study at many points and hold what it ends with against an undisturbed one.

    python benchmarks/faults.py [--faults N] [--only NAME] [--seed S] [--keep DIR] [--jobs N]

Each fault is one study on a small synthetic data set, run by the real command: a process of it is
killed at a chosen moment, or its disk is filled; the study goes on (with --resume where it ended),
and its trials.parquet must equal that of the undisturbed study but for times. On a full disk it
must end with one message that names the folder, and leave no torn file. The last line sums up.
"""

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.killed_studies import (
    ALL_TRIALS,
    EPOCHS,
    PATIENCE,
    Fault,
    Seen,
    Studies,
    Victim,
    private_mounts,
)
from study.ledger.ledger import Trial


def _worker_in(stage: str, epoch: int, phase: str = "search") -> Victim:
    def victim(seen: Seen) -> int | None:
        for trial in seen.trials:
            past = trial.phase != phase or (stage == "template" and _epoch(trial, "focus"))
            if trial.id in seen.workers and _epoch(trial, stage) >= epoch and not past:
                return seen.workers[trial.id]
        return None

    return victim


def _driver_in(stage: str, epoch: int, phase: str = "search") -> Victim:
    def victim(seen: Seen) -> int | None:
        own = [trial for trial in seen.trials if trial.phase == phase]
        there = any(_epoch(trial, stage) >= epoch for trial in own)
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
        phases = ["controls", "confirm"]
        draw.shuffle(phases)
        for kind, strike, phase in zip(
            ("a worker", "the driver"), (_worker_in, _driver_in), phases, strict=True
        ):
            epoch = draw.randint(1, EPOCHS - 1)
            at = f"in {phase}, focus epoch {epoch}, {number.name}"
            faults.append(Fault(f"{kind} {at}", strike("focus", epoch, phase), number))
        finished = draw.randint(1, ALL_TRIALS - 1)
        after = f"after {finished} trials, {number.name}"
        faults.append(Fault(f"the driver {after}", _driver_after(finished), number))
    for stage in ("template", "focus"):
        epoch = draw.randint(1, EPOCHS - 1)
        moment = _worker_in(stage, epoch)
        faults.append(Fault(f"a node in {stage} epoch {epoch}", moment, node=True))
    for name in (
        "trial.json",
        "started.json",
        "ended.json",
        "checkpoint.pt",
        "template.json",
        "weights.safetensors",
        "predictions.parquet",
        "result.json",
        "trials.parquet",
    ):
        faults.append(Fault(f"between write and rename of {name}", None, renaming=name))
    for phase, stage in (("search", "template"), ("search", "focus"), ("confirm", "template")):
        epoch = draw.randint(1, EPOCHS - 1)
        at = f"in {phase}, {stage} epoch {epoch}"
        faults.append(Fault(f"a full disk {at}", _driver_in(stage, epoch, phase), disk=True))
    finished = draw.randint(1, ALL_TRIALS - 1)
    faults.append(Fault(f"a full disk after {finished} trials", _driver_after(finished), disk=True))
    draw.shuffle(faults)
    return faults


@dataclass(frozen=True)
class Outcome:
    """What a study that endured a fault ended with, against the undisturbed one."""

    lost: int  # trials
    repeated: int
    changed: int  # values; -1 where the tables cannot be compared
    flaws: list[str]  # whatever else was not as it should

    @property
    def survived(self) -> bool:
        return not (self.lost or self.repeated or self.changed or self.flaws)

    @classmethod
    def of(cls, expected: pd.DataFrame, table: pd.DataFrame, flaws: list[str]) -> "Outcome":
        ids = table["trial"]
        changed = -1
        if expected.columns.equals(table.columns) and len(table) == len(expected):
            equal = expected.eq(table) | (expected.isna() & table.isna())
            changed = int((~equal).to_numpy().sum())
        return cls(
            lost=len(set(expected["trial"]) - set(ids[table["status"] == "finished"])),
            repeated=int(ids.duplicated().sum()) + len(set(ids) - set(expected["trial"])),
            changed=changed,
            flaws=flaws,
        )


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 1 where a fault cost anything."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/faults.py",
        description=__doc__,
        epilog="example:\n  python benchmarks/faults.py --faults 4 --only 'worker|node'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--faults", type=int, help="how many of the matrix (default: all)")
    parser.add_argument("--only", default="", help="regular expression: faults of such a name")
    parser.add_argument("--seed", type=int, default=0, help="of order and moments (default: 0)")
    parser.add_argument("--keep", type=Path, help="folder for the studies (default: removed)")
    parser.add_argument("--jobs", type=int, default=1, help="studies side by side (default: 1)")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in matrix(options.seed) if re.search(options.only, fault.name)]
    faults = chosen[: options.faults]
    if any(fault.disk for fault in faults) and not private_mounts():
        left_out = sum(fault.disk for fault in faults)
        print(f"left out, for nothing can be mounted here: {left_out} faults of a full disk")
        faults = [fault for fault in faults if not fault.disk]
    folder = (options.keep or Path(tempfile.mkdtemp(prefix="faults-"))).absolute()
    studies = Studies(folder)
    undisturbed = folder / "undisturbed"
    if studies.start(undisturbed).wait(timeout=PATIENCE) != 0:
        print((undisturbed / "output.txt").read_text(), file=sys.stderr)
        return 1
    expected = studies.table(undisturbed)
    begun = time.monotonic()

    def endure(number: int) -> Outcome | None:
        fault, place = faults[number], folder / f"fault-{number:02}"
        if not studies.endure(fault, place):
            print(f"{fault.name}: the moment did not come", flush=True)
            return None
        outcome = Outcome.of(expected, studies.table(place), studies.flaws.get(place, []))
        said = "survived" if outcome.survived else f"FAILED, see {place}"
        at = f"{time.monotonic() - begun:.0f} s"
        print("; ".join([f"{fault.name}: {said}, at {at}", *outcome.flaws]), flush=True)
        if outcome.survived and options.keep is None:
            shutil.rmtree(place)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = [o for o in pool.map(endure, range(len(faults))) if o is not None]
    struck, survived = len(outcomes), sum(outcome.survived for outcome in outcomes)
    missed = len(faults) - struck
    if survived == struck and options.keep is None:
        shutil.rmtree(folder)
    print(
        f"{struck} faults, {survived} survived, {sum(o.lost for o in outcomes)} trials lost, "
        f"{sum(o.repeated for o in outcomes)} repeated, "
        f"{sum(o.changed for o in outcomes)} metrics changed"
        + (f"; {missed} moments did not come" if missed else "")
    )
    return int(survived < struck or struck == 0)


if __name__ == "__main__":
    sys.exit(main())
