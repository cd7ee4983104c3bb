"""What a trial writes while it runs: epochs it has reported, what it waits for, a log."""

import errno
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from focusnet.system.atomic import write_json, write_text

Record = dict[str, Any]
WAITING = "waiting.json"  # there while the trial waits for a template, or trains one of a fold


class TrialFolder:
    """The folder of one trial, perhaps begun by a process that has died."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.epochs = path / "epochs.jsonl"

    def wait(self, at: str, key: str) -> None:
        """Record what the trial is at, such as 'waiting for template', until it begins a stage."""
        write_json(self.path / WAITING, {"at": at, "template": key})
        self.say(f"{at} ({key})")

    def begin(self, records: Iterable[Record]) -> None:
        """Begin a stage; ``records`` are all epochs so far."""
        (self.path / WAITING).unlink(missing_ok=True)
        write_text(self.epochs, "".join(json.dumps(record) + "\n" for record in records))

    def add(self, record: Record) -> None:
        """Record an epoch that has been reported.

        Raises:
            OSError: the disk is full; no part of the line is left.
        """
        line = (json.dumps(record) + "\n").encode()
        with self.epochs.open("ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if file.write(line) < len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.epochs))

    def reported(self, stage: str) -> set[int]:
        """The epochs of a stage that have been reported, by this process or one before it."""
        if not self.epochs.is_file():
            return set()
        found = set()
        for line in self.epochs.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short by a kill
            if record["stage"] == stage:
                found.add(record["epoch"])
        return found

    def say(self, text: str) -> None:
        """Add a line to ``log.txt``, as far as the disk has room for it."""
        with suppress(OSError), (self.path / "log.txt").open("a") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}\n")
