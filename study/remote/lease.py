"""Lease on a remote study, kept alive by a heartbeat record.

The driver renews a record at the address every few seconds. A second driver watches the record
for longer than the interval: if it changes, its writer is alive. So no clocks are compared, and a
killed driver blocks the study for a short time only.

The lease is not a lock. Two drivers can overlap for seconds if both start within the same second,
or if one was cut off for longer than the watch; the next heartbeat detects it. That does no harm:
each trial's own records are protected by a fencing token (``study.remote.trial``).
"""

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.atomic import write_text
from study.errors import Unreachable
from study.remote.files import RemoteFolder
from study.remote.retry import PeriodicTask, Retrier

FILE = ".lease"
HEARTBEAT = 15.0  # seconds between two renewals
_WATCH = 4 * HEARTBEAT
_POLL = 1.0  # seconds from one read to the next while watching

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseRecord:
    """The content of the lease file. Fields that another version left out are unknown."""

    token: str = ""  # of the driver that wrote it
    process: int | str = "?"
    host: str = "?"
    beat: str | None = None  # time of the last renewal; UTC, ISO 8601

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    def encode(self) -> bytes:
        """The record as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "LeaseRecord":
        """The record in ``data``; one of unknown origin if it cannot be parsed."""
        try:
            content: dict[str, Any] = dict(json.loads(data))
        except (ValueError, TypeError):
            return cls()
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


class Lease:
    """The lease on one study.

    Args:
        working_copy: the study's local folder, whose file lock this process must hold.
        remote: the study's folder at the address.
        on_loss: called once, from another thread, when another driver has taken the study.
        heartbeat, watch, poll: seconds; see the constants.
    """

    def __init__(
        self,
        working_copy: Path,
        remote: RemoteFolder,
        retrier: Retrier,
        on_loss: Callable[[], None],
        *,
        heartbeat: float = HEARTBEAT,
        watch: float = _WATCH,
        poll: float = _POLL,
    ) -> None:
        self._token_file = working_copy / FILE
        self._remote = remote
        self._retrier = retrier
        self._on_loss = on_loss
        self._heartbeat, self._watch, self._poll = heartbeat, watch, poll
        self._token = uuid.uuid4().hex
        self.lost = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease, as soon as it is free or its holder is found to be dead.

        Raises:
            ConfigError: another driver holds it and is alive.
            Unreachable: the address could not be reached for a long time.
        """
        self._retrier.retry(self._acquire)
        renewal = PeriodicTask(self._renew, self._heartbeat, self._retrier)
        renewal.start()
        try:
            yield
        finally:
            renewal.stop()
            if not self.lost:
                with suppress(Unreachable):
                    self._remote.remove([FILE])
            self._token_file.unlink(missing_ok=True)

    def _acquire(self) -> None:
        if not self._remote.create(FILE, self._new_record()):
            self._wait_for_holder()
            self._remote.write(FILE, self._new_record())
            time.sleep(2 * self._poll)  # another driver may have waited at the same time
            record = self._read()
            if record is not None and record.token != self._token:
                raise ConfigError(f"{self._remote.url}: {record} took this study just now")
        write_text(self._token_file, self._token)

    def _wait_for_holder(self) -> None:
        """Return when the holder is known to be dead; raises ConfigError if it is alive."""
        first = last = self._read()
        if first is None or first.token in (self._previous_token(), self._token):
            return  # its holder had the file lock that this process has now, so it has ended
        logger.warning(
            "%s ran this study and did not report its end: watching for %g s whether it is alive. "
            "If you know that it is dead, remove %s/%s",
            *(first, self._watch, self._remote.url, FILE),
        )
        deadline = time.monotonic() + self._watch
        while last == first and time.monotonic() < deadline:
            time.sleep(self._poll)
            last = self._read()
            if last is None:
                return
        if last != first:
            raise ConfigError(
                f"{self._remote.url}: {last} is running this study (it renewed its lease just now)"
            )

    def _renew(self) -> None:
        if self.lost:
            return
        record = self._read()
        if record is not None and record.token != self._token:
            self.lost = True
            logger.error("%s has taken over this study: this process ends", record)
            self._on_loss()
            return
        self._remote.write(FILE, self._new_record())

    def _read(self) -> LeaseRecord | None:
        data = self._remote.read(FILE)
        return None if data is None else LeaseRecord.decode(data)

    def _new_record(self) -> bytes:
        now = datetime.now(UTC).isoformat()
        return LeaseRecord(self._token, os.getpid(), socket.gethostname(), now).encode()

    def _previous_token(self) -> str | None:
        """The token of the driver that held the file lock of this working copy before."""
        return self._token_file.read_text() if self._token_file.is_file() else None


def is_alive(record: bytes | None, now: datetime) -> bool:
    """Whether the writer of a lease record is alive, as far as two machines' clocks agree."""
    beat = None if record is None else LeaseRecord.decode(record).beat
    return beat is not None and (now - datetime.fromisoformat(beat)).total_seconds() < _WATCH
