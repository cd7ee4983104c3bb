"""What a tracker gets of a trial, and what it has got so far.

Ray's own integrations are not used: they know a trial by Ray's id, which changes when a study is
resumed, and send what they are told, so that a kill would lose epochs or send them twice. Here the
study's ledger says what there is, and a record in the study's folder what was sent.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from focusnet.system.atomic import write_json
from study.ledger.ledger import ENDED, Trial
from study.space.space import Space

FILE = "tracking.json"


@dataclass(frozen=True)
class TrackedRun:
    """A trial as trackers show it.

    Attributes:
        trial: its name, the same on every machine and after every restart.
        study: its name.
        group: study and stratum.
        config: searched parameters, arm, seed, phase.
        steps: metrics of each epoch of each stage, in order; those of a stage have its epoch.
        status: of the trial.
        summary: final metrics; empty unless it has ended.
    """

    trial: str
    study: str
    group: str
    config: Mapping[str, Any]
    steps: Sequence[Mapping[str, float]]
    status: str
    summary: Mapping[str, Any]

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


class Tracker(Protocol):
    """One experiment tracker. Its methods are called from a single thread and may raise anything.

    ``destination`` says where it sends to, for people and for the record.
    """

    destination: str

    def send(self, run: TrackedRun, first: int) -> None:
        """Send the steps from number ``first`` on; the run is created if it does not exist."""

    def end(self, run: TrackedRun) -> None:
        """Send how the run has ended."""

    def close(self) -> None:
        """Leave the runs that have not ended as they are."""


def tracked_run(space: Space, trial: Trial) -> TrackedRun:
    """What trackers get of a trial."""
    label = space.label(trial.stratum)
    config = {"arm": trial.arm, "seed": trial.seed, "phase": trial.phase, **trial.parameters}
    summary: dict[str, Any] = {}
    if trial.status in ENDED:
        summary = {"status": trial.status, **trial.metrics}
        if trial.error:
            summary["error"] = trial.error
    return TrackedRun(
        trial.id,
        space.name,
        " ".join(filter(None, [space.name, label])),
        config,
        [_step(record) for record in trial.epochs],
        trial.status,
        summary,
    )


def _step(record: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of an epoch, which all have their stage in their names."""
    stage = record["stage"]
    found = {f"{stage}/epoch": float(record["epoch"])}
    for name, value in record.items():
        if "/" in name and isinstance(value, int | float):
            found[name] = float(value)
    return found


class SentRecord:
    """How many steps of each run a tracker has got; written after they were sent."""

    def __init__(self, folder: Path, destination: str) -> None:
        self._path = folder / FILE
        self._destination = destination
        self._sent: dict[str, Any] = self._read().get(destination, {})

    def steps(self, trial: str) -> int:
        """Steps that were sent."""
        return int(self._sent.get(trial, {}).get("steps", 0))

    def has_ended(self, trial: str) -> bool:
        """Whether the end of the run was sent."""
        return bool(self._sent.get(trial, {}).get("ended"))

    def add(self, run: TrackedRun) -> None:
        """Record that all of the run has been sent."""
        steps = max(self.steps(run.trial), len(run.steps))
        self._sent[run.trial] = {"steps": steps, "ended": run.has_ended}
        write_json(self._path, {**self._read(), self._destination: self._sent})

    def _read(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.is_file() else {}
