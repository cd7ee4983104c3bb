"""Writes what a trial has reported and what it waits for to its folder, while it runs."""

import errno
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from focusnet.system.atomic import write_json, write_text
from focusnet.system.yaml_file import read_yaml
from focusnet.training.epoch_record import EpochRecord

logger = logging.getLogger(__name__)

WAITING = "waiting.json"  # there while the trial waits for a template, or trains one of a fold


class TrialFolder:
    """The folder of one trial; an earlier process may have begun it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.epochs = path / "epochs.jsonl"

    def record_settings(self, settings: Mapping[str, Any]) -> None:
        """Write ``config.yaml``; epochs that a trial of other settings has left are forgotten."""
        path = self.path / "config.yaml"
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        if path.is_file() and _determining(read_yaml(path)) != _determining(yaml.safe_load(text)):
            self.epochs.unlink(missing_ok=True)
        write_text(path, text)

    def wait(self, at: str, key: str) -> None:
        """Record what the trial does, such as 'waiting for template', until it begins a stage."""
        write_json(self.path / WAITING, {"at": at, "template": key})
        logger.info("%s (%s)", at, key)

    def begin(self, records: Iterable[EpochRecord]) -> None:
        """Begin a stage; ``records`` are all epochs so far."""
        (self.path / WAITING).unlink(missing_ok=True)
        write_text(self.epochs, "".join(_line(record) for record in records))

    def add(self, record: EpochRecord) -> None:
        """Record an epoch that has been reported.

        Raises:
            OSError: the disk is full; no part of the line is left.
        """
        line = _line(record).encode()
        with self.epochs.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if file.write(line) < len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.epochs))

    def reported(self, stage: str) -> dict[int, EpochRecord]:
        """The epochs of a stage that have been reported, by this process or one before it."""
        if not self.epochs.is_file():
            return {}
        found = {}
        for line in self.epochs.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short by a kill
            if record["stage"] == stage:
                found[record["epoch"]] = EpochRecord.from_flat(record)
        return found


def _determining(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that change no result."""
    sections = {name: value for name, value in settings.items() if name != "compute"}
    for name, value in (settings.get("compute") or {}).items():
        if not name.startswith("checkpoint_"):
            sections[f"compute.{name}"] = value
    return sections


def _line(record: EpochRecord) -> str:
    return json.dumps(record.flat()) + "\n"
