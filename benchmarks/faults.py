"""Kill a real study at many points and hold what it ends with against an undisturbed one.

    python benchmarks/faults.py [--faults N] [--seed S] [--keep DIR]

Each fault is one study on a small synthetic data set, run by the real command: a process of it is
killed at a chosen moment, the study goes on (with --resume where its driver died), and its
trials.parquet must equal that of the undisturbed study but for times. The last line sums up.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.killed_studies import (
    EPOCHS,
    PATIENCE,
    STRATA,
    TRIALS,
    Fault,
    Seen,
    Studies,
    Victim,
)
from study.ledger import Trial


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
    for stage in ("template", "focus"):
        epoch = draw.randint(1, EPOCHS - 1)
        moment = _worker_in(stage, epoch)
        faults.append(Fault(f"a node in {stage} epoch {epoch}", moment, node=True))
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
