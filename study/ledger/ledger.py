"""Reads and writes the results folder as the study's ledger, the only record of its state.

Each trial has a folder with small JSON records, each written atomically: ``trial.json`` when the
trial is handed out, ``started.json`` by the worker at each attempt, ``result.json`` by the trial
when its results are complete, ``ended.json`` when it will not be resumed. Ray's own state is never
used.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import Timeout

from focusnet.arms import FOCUSNET
from focusnet.errors import ConfigError
from focusnet.system.atomic import write_json, write_text
from focusnet.system.locks import held
from focusnet.system.yaml_file import read_yaml
from study.ledger.driver import LOCK, is_running, last_driver, record_driver
from study.ledger.looks import LookRecord, add_look, read_looks
from study.ledger.records import (
    EndRecord,
    Half,
    Phase,
    ResultRecord,
    StartRecord,
    Status,
    TrialRecord,
)

ENDED = ("finished", "stopped", "failed")
PREDICTIONS = "predictions"  # folder of all trials' logits; with a suffix, one trial's file
ARM = FOCUSNET  # what is searched; trials of other arms are its controls


@dataclass(frozen=True)
class Trial:
    """What the ledger knows about one trial."""

    id: str
    arm: str
    stratum: Any
    index: int  # position in its stratum
    seed: int
    parameters: dict[str, Any]
    status: Status = "pending"
    error: str | None = None
    attempts: int = 0
    started: str | None = None  # of the last attempt; UTC, ISO 8601
    host: str | None = None  # of the last attempt
    ended: str | None = None
    result: ResultRecord = field(default_factory=ResultRecord)  # of a finished trial
    epochs: list[dict[str, Any]] = field(default_factory=list)  # as reported, in order
    phase: Phase = "search"
    tuning: bool = False  # of a control arm's own search
    judged_on: Half | None = None  # of a confirmation: the half that its winner was not chosen on
    look: int | None = None  # of a confirmation: the first planned look that counts it, from 1
    teacher_seeds: list[int] | None = None  # of the ensemble that teaches its student

    @property
    def searched(self) -> bool:
        """Whether the search chose it; only such a trial can be the winner of its stratum."""
        return self.phase == "search" and self.arm == ARM

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of a finished trial; of any other, its latest metrics on ``select``."""
        if self.status == "finished":
            return dict(self.result.get("metrics", {}))
        last: dict[str, float] = {}
        for record in self.epochs:
            last |= {name: value for name, value in record.items() if "/select/" in name}
        return last

    def curve(self, metric: str) -> dict[int, float]:
        """``metric`` by epoch of its stage."""
        stage = metric.partition("/")[0]
        return {
            int(record["epoch"]): float(record[metric])
            for record in self.epochs
            if record.get("stage") == stage and record.get(metric) is not None
        }


class Ledger:
    """The records of one study, in a folder that all workers share."""

    address: str | None = None  # of a remote study, of which ``folder`` is a working copy

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ended: dict[str, Trial] = {}  # cache; an ended trial does not change

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def space_path(self) -> Path:
        return self.folder / "space.yaml"

    def exists(self) -> bool:
        """Whether the folder holds a study."""
        return self.space_path.is_file()

    def begin(self, space: dict[str, Any]) -> None:
        """Record the resolved space; from now on the study exists."""
        text = yaml.safe_dump(space, sort_keys=False, allow_unicode=True)
        write_text(self.space_path, "# Resolved: defaults filled in, paths absolute.\n" + text)

    def space(self) -> dict[str, Any]:
        """The space that the study was begun (or last extended) with."""
        return read_yaml(self.space_path)

    @contextmanager
    def locked(self, resume: str = "") -> Iterator[None]:
        """Lock the study against a second driver; the lock is released when the process dies.

        ``resume`` is the command that resumes the study, which study/status.py shows.

        Raises:
            ConfigError: the folder cannot be created, or another driver runs the study.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be created: {error.strerror}") from None
        try:
            # A process that checks whether the study runs holds the lock for an instant.
            with held(self.folder / LOCK, seconds=1):
                record_driver(self.folder, resume)
                yield
        except Timeout:
            who = last_driver(self.folder) or "another process"
            raise ConfigError(f"{self.folder}: {who} is running this study") from None

    def trial_folder(self, trial: str) -> Path:
        return self.folder / "trials" / trial

    def hand_out(self, trial: Trial) -> None:
        """Record a trial before it runs."""
        record: TrialRecord = {
            "trial": trial.id,
            "phase": trial.phase,
            "arm": trial.arm,
            "stratum": trial.stratum,
            "index": trial.index,
            "seed": trial.seed,
            "parameters": trial.parameters,
        }
        if trial.tuning:
            record["tuning"] = True
        if trial.phase == "confirm":
            record |= {"judged_on": trial.judged_on, "look": trial.look}
        if trial.teacher_seeds is not None:
            record["teacher_seeds"] = trial.teacher_seeds
        write_json(self.trial_folder(trial.id) / "trial.json", record)

    def trials(self) -> list[Trial]:
        """All trials that were handed out, by their index in their stratum."""
        found = []
        for path in sorted(self.folder.glob("trials/*/trial.json")):
            name = path.parent.name
            if name not in self._ended:
                trial = read_trial(path.parent)
                if trial.status in ENDED:
                    self._ended[name] = trial
                else:
                    found.append(trial)
                    continue
            found.append(self._ended[name])
        return sorted(found, key=lambda trial: (trial.index, trial.id))

    def trial(self, name: str) -> Trial:
        return self._ended.get(name) or read_trial(self.trial_folder(name))

    def looks(self) -> list[LookRecord]:
        """The looks at the confirmation so far, in their order."""
        return read_looks(self.folder)

    def add_look(self, record: LookRecord) -> None:
        """Record a look, before anything follows from it."""
        add_look(self.folder, record)

    def predictions(self, trial: str) -> bytes | None:
        """The Parquet file of a finished trial's logits; None if there is none."""
        places = (
            self.folder / PREDICTIONS / f"{trial}.parquet",
            self.trial_folder(trial) / f"{PREDICTIONS}.parquet",  # not collected yet
        )
        return next((path.read_bytes() for path in places if path.is_file()), None)

    def is_running(self) -> bool:
        """Whether a process runs the study now."""
        return is_running(self.folder)

    def reported(self, trial: str) -> None:
        """Called when a worker has reported; a remote ledger then fetches the trial's records."""

    def refresh(self, trial: str) -> None:
        """Make sure that the trial's records are those that its worker wrote last."""

    def publish(self) -> None:
        """Make what was written visible to others; a remote ledger uploads it."""

    def discard(self, trial: str, patterns: Iterable[str]) -> None:
        """Delete the trial's files that match ``patterns``, anywhere below its folder."""
        for pattern in patterns:
            for path in list(self.trial_folder(trial).rglob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def forget_failures(self) -> int:
        """Reset failed trials so that they run again; returns their number."""
        failed = [trial for trial in self.trials() if trial.status == "failed"]
        for trial in failed:
            for name in ("started.json", "ended.json"):
                (self.trial_folder(trial.id) / name).unlink(missing_ok=True)
            self._ended.pop(trial.id)
        return len(failed)


def read_trial(folder: Path) -> Trial:
    """The trial whose records are in ``folder``."""
    about: TrialRecord = json.loads((folder / "trial.json").read_text())
    started: StartRecord | None = _read_record(folder / "started.json")
    ended: EndRecord | None = _read_record(folder / "ended.json")
    result: ResultRecord | None = _read_record(folder / "result.json")
    confirms = about.get("phase") == "confirm"
    status: Status = "running" if started else "pending"
    if result:
        status = "finished"  # whatever happened to its process afterwards
    elif ended:
        status = ended["status"]
    return Trial(
        id=about["trial"],
        arm=about["arm"],
        stratum=about["stratum"],
        index=about["index"],
        seed=about["seed"],
        parameters=about["parameters"],
        phase=about.get("phase", "search"),
        tuning=about.get("tuning", False),
        # Older studies judge every confirmation on report, at one look.
        judged_on=about.get("judged_on", "report" if confirms else None),
        look=about.get("look", 1 if confirms else None),
        teacher_seeds=about.get("teacher_seeds"),
        status=status,
        error=ended["error"] if ended and status == "failed" else None,
        attempts=started["attempts"] if started else 0,
        started=started["at"] if started else None,
        host=started["host"] if started else None,
        ended=_time_of(folder / "result.json") if result else ended["at"] if ended else None,
        result=result or ResultRecord(),
        epochs=_read_epochs(folder / "epochs.jsonl"),
    )


def record_start(folder: Path) -> int:
    """Record that a worker starts or resumes the trial; returns the number of this attempt."""
    last: StartRecord | None = _read_record(folder / "started.json")
    record: StartRecord = {
        "attempts": (last["attempts"] if last else 0) + 1,
        "at": _now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    write_json(folder / "started.json", record)
    return record["attempts"]


def record_end(folder: Path, status: Status, error: str | None = None) -> None:
    """Record that a trial will not be resumed, and why."""
    record: EndRecord = {"status": status, "error": error, "at": _now()}
    write_json(folder / "ended.json", record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _time_of(path: Path) -> str:
    # A finished trial writes ended.json after result.json, and may die in between.
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _read_record(path: Path) -> Any:
    """The content of a JSON file; None if there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else None


def _read_epochs(path: Path) -> list[dict[str, Any]]:
    """The lines of ``epochs.jsonl``, except one that a killed process left incomplete."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
