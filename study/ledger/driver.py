"""Who runs a study: the process that holds its lock, as another one can see it.

The lock is the kernel's and falls with its holder, so it decides; the record beside it says who
the holder is or was.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from focusnet.config import cache_folder
from focusnet.system.atomic import write_json

LOCK, _RECORD = ".lock", ".driver"
_given_in: Path | None = None  # where the command was given, while it works elsewhere


@dataclass(frozen=True)
class Driver:
    """The process that runs a study, or did so last."""

    process: int
    host: str
    since: str  # UTC, ISO 8601
    folder: str  # where its command was given
    resume: str  # the command that goes on with the study

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def record_driver(folder: Path, resume: str) -> None:
    """Record that this process runs the study in ``folder``; it must hold the lock."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    driver = Driver(os.getpid(), socket.gethostname(), since, os.getcwd(), resume)
    write_json(folder / _RECORD, asdict(driver))


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Leave the folder where the command was given, for it may be removed while a study runs.

    Neither Ray nor a worker's imports can do without a current folder.
    """
    global _given_in
    _given_in = Path.cwd()
    if "FOCUSNET_CACHE" in os.environ:  # may be relative
        os.environ["FOCUSNET_CACHE"] = str(cache_folder(None))
    os.chdir(folder)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.chdir(_given_in)
            _given_in = None


def current_folder() -> Path | None:
    """Where the command was given; None where that folder has been removed."""
    try:
        folder = _given_in or Path.cwd()
    except FileNotFoundError:
        return None
    return folder if folder.is_dir() else None


def last_driver(folder: Path) -> Driver | None:
    """Who runs or last ran the study in ``folder``; None where nobody has."""
    try:
        return Driver(**json.loads((folder / _RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def is_running(folder: Path) -> bool:
    """Whether a process runs the study in ``folder`` now.

    A holder on another machine is seen where the file system carries locks between machines.
    """
    driver = last_driver(folder)
    if driver is None:
        return False
    here = driver.host == socket.gethostname()
    if here and not _exists(driver.process):
        return False  # what still holds the lock is a child that outlived it
    locked = _is_locked(folder / LOCK)
    return here if locked is None else locked


def _is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock; None where the file system has no locks."""
    try:
        # A shared lock, held for this moment: it never makes the file, and a driver that starts
        # just now waits for longer than that.
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
