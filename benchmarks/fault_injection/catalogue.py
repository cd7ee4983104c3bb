"""Lists the faults that benchmarks/faults.py injects, with the moment of each."""

import random
import signal

from benchmarks.fault_injection.studies import ALL_TRIALS, EPOCHS, Fault, Snapshot, Trigger
from study.ledger.ledger import Trial


def _worker_in(stage: str, epoch: int, phase: str = "search") -> Trigger:
    """A worker whose trial has reached this epoch of this stage."""

    def trigger(study: Snapshot) -> int | None:
        for trial in study.trials:
            ignored = trial.phase != phase or (stage == "template" and _epoch(trial, "focus"))
            if trial.id in study.workers and _epoch(trial, stage) >= epoch and not ignored:
                return study.workers[trial.id]
        return None

    return trigger


def _driver_in(stage: str, epoch: int, phase: str = "search") -> Trigger:
    """The driver, once a trial has reached this epoch of this stage."""

    def trigger(study: Snapshot) -> int | None:
        trials = [trial for trial in study.trials if trial.phase == phase]
        reached = any(_epoch(trial, stage) >= epoch for trial in trials)
        return study.driver if reached else None

    return trigger


def _driver_after(finished: int) -> Trigger:
    """The driver, once so many trials have finished."""

    def trigger(study: Snapshot) -> int | None:
        done = sum(trial.status == "finished" for trial in study.trials)
        return study.driver if done >= finished else None

    return trigger


def _waiting_worker(study: Snapshot) -> int | None:
    """A worker that has started and waits for a template that another worker trains."""
    building = {trial.stratum for trial in study.trials if _epoch(trial, "template") >= 2}
    for trial in study.trials:
        if trial.id in study.workers and not trial.epochs and trial.stratum in building:
            return study.workers[trial.id]
    return None


def _epoch(trial: Trial, stage: str) -> int:
    """Last epoch of ``stage`` that the trial has completed."""
    return max((r["epoch"] for r in trial.epochs if r.get("stage") == stage), default=0)


def all_faults(seed: int) -> list[Fault]:
    """All faults in random order; ``seed`` also draws the epochs at which they are injected."""
    draw = random.Random(seed)
    faults = [Fault("a waiting trial, SIGKILL", _waiting_worker)]
    for number in (signal.SIGKILL, signal.SIGTERM):
        for stage in ("template", "focus"):
            for _ in range(2):
                epoch = draw.randint(1, EPOCHS - 1)
                at = f"{stage} epoch {epoch}, {number.name}"
                faults.append(Fault(f"a worker in {at}", _worker_in(stage, epoch), number))
                faults.append(Fault(f"the driver in {at}", _driver_in(stage, epoch), number))
        phases = ["controls", "confirm"]
        draw.shuffle(phases)
        for kind, trigger_in, phase in zip(
            ("a worker", "the driver"), (_worker_in, _driver_in), phases, strict=True
        ):
            epoch = draw.randint(1, EPOCHS - 1)
            at = f"in {phase}, focus epoch {epoch}, {number.name}"
            faults.append(Fault(f"{kind} {at}", trigger_in("focus", epoch, phase), number))
        finished = draw.randint(1, ALL_TRIALS - 1)
        after = f"after {finished} trials, {number.name}"
        faults.append(Fault(f"the driver {after}", _driver_after(finished), number))
    for stage in ("template", "focus"):
        epoch = draw.randint(1, EPOCHS - 1)
        trigger = _worker_in(stage, epoch)
        faults.append(Fault(f"a node in {stage} epoch {epoch}", trigger, node=True))
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
