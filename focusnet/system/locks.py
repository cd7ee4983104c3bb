"""Locks a file against other processes; the lock of a process that dies is released at once.

Only kernel locks are released like that. On a file system without them, filelock would fall back to
a lock file, which a killed process never removes; here that is an error instead.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from focusnet.errors import ConfigError

POLL_SECONDS = 0.2
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def held(
    path: Path,
    *,
    seconds: float = float("inf"),
    while_waiting: Callable[[float], None] | None = None,
) -> Iterator[None]:
    """Hold the lock of the file ``path``, which is created if it is missing and never removed.

    Args:
        seconds: how long to wait while another process holds the lock.
        while_waiting: called repeatedly during the wait with the seconds waited so far (first 0);
            an exception that it raises ends the wait.

    Raises:
        Timeout: another process held the lock for longer than ``seconds``.
        ConfigError: the file system has no locks.
    """
    lock = FileLock(path, fallback_to_soft=False)
    started = time.monotonic()
    waited = 0.0
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if waited >= seconds:
                raise
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise ConfigError(_no_locks(path.parent, error.errno)) from None
            raise
        if while_waiting is not None:
            while_waiting(waited)
        time.sleep(POLL_SECONDS)
        waited = time.monotonic() - started
    try:
        yield
    finally:
        lock.release()


def _no_locks(folder: Path, number: int) -> str:
    return (
        f"{folder}: its file system has no file locks ({os.strerror(number)}), without which two "
        "processes could write the same files; choose another folder, or have it mounted with "
        "locks (NFS 4; NFS 3 with its lock service; Lustre with the option flock)"
    )
