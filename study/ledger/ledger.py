"""The results folder as the study's ledger: what it says is finished is finished.

Each trial has a folder with small records, written whole or not at all: ``trial.json`` when it is
handed out, ``started.json`` by the worker at each attempt, ``result.json`` by the trial when its
results are complete, ``ended.json`` when it will not go on. Ray's own state is never asked.
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
from typing import Any, Literal

import yaml
from filelock import Timeout

from focusnet.arms import FOCUSNET
from focusnet.errors import ConfigError
from focusnet.system.atomic import write_json, write_text
from focusnet.system.locks import held
from focusnet.system.yaml_file import read_yaml
from study.ledger.driver import LOCK, is_running, last_driver, record_driver

Status = Literal["finished", "stopped", "failed", "running", "pending"]
Phase = Literal["search", "controls", "confirm"]
ENDED = ("finished", "stopped", "failed")
ARM = FOCUSNET  # what is searched; trials of other arms are its controls


@dataclass(frozen=True)
class Trial:
    """What the ledger knows of one trial."""

    id: str
    arm: str
    stratum: Any
    index: int  # place in its stratum
    seed: int
    parameters: dict[str, Any]
    status: Status = "pending"
    error: str | None = None
    attempts: int = 0
    started: str | None = None  # of the last attempt; UTC, ISO 8601
    host: str | None = None  # where that was
    ended: str | None = None
    result: dict[str, Any] = field(default_factory=dict)  # result.json of a finished trial
    epochs: list[dict[str, Any]] = field(default_factory=list)  # what was reported, in order
    phase: Phase = "search"

    @property
    def searched(self) -> bool:
        """Whether the search chose it; only such a trial can win its stratum."""
        return self.phase == "search" and self.arm == ARM

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of a finished trial; of any other, the last it had on ``select``."""
        if self.status == "finished":
            return dict(self.result.get("metrics", {}))
        last: dict[str, float] = {}
        for record in self.epochs:
            last |= {name: value for name, value in record.items() if "/select/" in name}
        return last

    def curve(self, metric: str) -> dict[int, float]:
        """``metric`` by epoch of the stage that it belongs to."""
        stage = metric.partition("/")[0]
        return {
            int(record["epoch"]): float(record[metric])
            for record in self.epochs
            if record.get("stage") == stage and record.get(metric) is not None
        }


class Ledger:
    """The folder of one study."""

    address: str | None = None  # of what ``folder`` is a working copy of; see remote_ledger.py

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ended: dict[str, Trial] = {}  # an ended trial does not change any more

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def space_path(self) -> Path:
        return self.folder / "space.yaml"

    def exists(self) -> bool:
        """Whether a study was begun here."""
        return self.space_path.is_file()

    def begin(self, space: dict[str, Any]) -> None:
        """Record the resolved space; from here on the study exists."""
        text = yaml.safe_dump(space, sort_keys=False, allow_unicode=True)
        write_text(self.space_path, "# Resolved: defaults filled in, paths absolute.\n" + text)

    def space(self) -> dict[str, Any]:
        """The space that the study was begun (or last extended) with."""
        return read_yaml(self.space_path)

    @contextmanager
    def locked(self, resume: str = "") -> Iterator[None]:
        """Hold the study, so that no second driver works on it; falls when the process dies.

        ``resume`` is the command that would go on with the study, for whoever finds it left.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be made: {error.strerror}") from None
        try:
            # Whoever looks whether the study runs holds the lock for an instant.
            with held(self.folder / LOCK, seconds=1):
                record_driver(self.folder, resume)
                yield
        except Timeout:
            who = last_driver(self.folder) or "another process"
            raise ConfigError(f"{self.folder}: {who} is running this study") from None

    def trial_folder(self, trial: str) -> Path:
        return self.folder / "trials" / trial

    def hand_out(self, trial: Trial) -> None:
        """Record a configuration before anything is done with it."""
        write_json(
            self.trial_folder(trial.id) / "trial.json",
            {
                "trial": trial.id,
                "phase": trial.phase,
                "arm": trial.arm,
                "stratum": trial.stratum,
                "index": trial.index,
                "seed": trial.seed,
                "parameters": trial.parameters,
            },
        )

    def trials(self) -> list[Trial]:
        """All trials that were handed out, in the order of their strata's searches."""
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

    def is_running(self) -> bool:
        """Whether a process runs the study now."""
        return is_running(self.folder)

    def reported(self, trial: str) -> None:
        """A worker may have changed the trial's records: nothing to do where it shares them."""

    def refresh(self, trial: str) -> None:
        """Have the trial's records as its worker has left them."""

    def publish(self) -> None:
        """Let others see what was written by now."""

    def discard(self, trial: str, patterns: Iterable[str]) -> None:
        """Remove the trial's files with such names, wherever in its folder they are."""
        for pattern in patterns:
            for path in list(self.trial_folder(trial).rglob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def forget_failures(self) -> int:
        """Let failed trials run again; how many there are."""
        failed = [trial for trial in self.trials() if trial.status == "failed"]
        for trial in failed:
            for name in ("started.json", "ended.json"):
                (self.trial_folder(trial.id) / name).unlink(missing_ok=True)
            self._ended.pop(trial.id)
        return len(failed)


def read_trial(folder: Path) -> Trial:
    """The trial whose records are in ``folder``."""
    about = json.loads((folder / "trial.json").read_text())
    started = _read_record(folder / "started.json")
    ended = _read_record(folder / "ended.json")
    result = _read_record(folder / "result.json")
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
        status=status,
        error=ended.get("error") if status == "failed" else None,
        attempts=started.get("attempts", 0),
        started=started.get("at"),
        host=started.get("host"),
        ended=_time_of(folder / "result.json") if result else ended.get("at"),
        result=result,
        epochs=_read_epochs(folder / "epochs.jsonl"),
    )


def record_start(folder: Path) -> int:
    """Record that a worker begins (or begins again); returns the number of this attempt."""
    attempts = _read_record(folder / "started.json").get("attempts", 0) + 1
    record = {"attempts": attempts, "at": _now(), "host": socket.gethostname(), "pid": os.getpid()}
    write_json(folder / "started.json", record)
    return attempts


def record_end(folder: Path, status: Status, error: str | None = None) -> None:
    """Record that a trial will not go on, and why."""
    write_json(folder / "ended.json", {"status": status, "error": error, "at": _now()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _time_of(path: Path) -> str:
    # A finished trial has its result before its last words, and may have no last words.
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _read_record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _read_epochs(path: Path) -> list[dict[str, Any]]:
    """The lines of ``epochs.jsonl``; one that a kill cut short is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
