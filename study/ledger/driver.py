"""Tells which process runs a study (its driver), and whether it still does.

A driver holds a file lock, which the kernel releases when the process dies. So the lock decides
whether the study runs; the record beside it says who its driver is, or was last.
"""

import errno
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from focusnet.system.atomic import write_json

LOCK, _RECORD = ".lock", ".driver"


@dataclass(frozen=True)
class Driver:
    """The process that runs a study, or ran it last."""

    process: int
    host: str
    since: str  # UTC, ISO 8601
    folder: str  # where its command was given
    resume: str  # the command that resumes the study

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def record_driver(folder: Path, resume: str) -> None:
    """Record that this process, which holds the lock, runs the study in ``folder``.

    ``resume`` is the command that resumes the study from the current folder.
    """
    since = datetime.now(UTC).isoformat(timespec="seconds")
    driver = Driver(os.getpid(), socket.gethostname(), since, os.getcwd(), resume)
    write_json(folder / _RECORD, asdict(driver))


def last_driver(folder: Path) -> Driver | None:
    """Who runs or last ran the study in ``folder``; None if nobody has."""
    try:
        return Driver(**json.loads((folder / _RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_running(folder: Path) -> bool:
    """Whether a process runs the study in ``folder`` now.

    A driver on another machine counts if the file system shares locks between machines.
    """
    driver = last_driver(folder)
    if driver is None:
        return False
    here = driver.host == socket.gethostname()
    if here and not _exists(driver.process):
        return False  # if the lock is still held, then by a child that outlived the driver
    locked = _is_locked(folder / LOCK)
    return here if locked is None else locked


def _is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock; None if the file system has no locks."""
    try:
        # A shared lock, held for a moment only: it does not create the file, and a driver that
        # starts just now waits longer than that.
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        return True if error.errno == errno.EACCES else None
    return False


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
