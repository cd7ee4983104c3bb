"""Which driver has a study whose folder is an address, where no kernel keeps a lock.

The driver writes its heart's beats into a record at the address. Whoever else wants the study
watches that record for longer than a beat: if it changes, its writer lives. So no two clocks are
compared, and a driver that was killed holds nobody up for long. Two that begin within the same
second, or one that was cut off for longer than the watch, can both believe to have the study; the
first beat that finds another's record ends that. It is no lock, and need not be one: what two
drivers could damage is repaired from the trials' own records, which are fenced (remote_trial.py).
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.atomic import write_text
from study.errors import Unreachable
from study.remote.files import Place
from study.remote.retry import Carrier, Persistence

FILE = ".lease"
BEAT = 15.0  # seconds
_WATCH = 4 * BEAT
_LOOK = 1.0  # seconds from one look at a lease to the next


class Lease:
    """The lease of one study.

    Args:
        folder: the study's working copy here, whose lock this process must hold.
        place: the study's folder at the address.
        say: gets lines for people.
        on_loss: called once, from another thread, when another driver has taken the study.
    """

    def __init__(
        self,
        folder: Path,
        place: Place,
        persistence: Persistence,
        say: Callable[[str], None],
        on_loss: Callable[[], None],
        *,
        beat: float = BEAT,
        watch: float = _WATCH,
        look: float = _LOOK,
    ) -> None:
        self._own = folder / FILE
        self._place = place
        self._persistence = persistence
        self._say = say
        self._on_loss = on_loss
        self._beat, self._watch, self._look = beat, watch, look
        self._token = uuid.uuid4().hex
        self.lost = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease, once it is free or its holder shows no sign of life.

        Raises:
            ConfigError: a living driver has it.
            Unreachable: the address cannot be reached for a long time.
        """
        self._persistence.insist(self._take)
        carrier = Carrier(self._renew, self._beat, self._persistence)
        carrier.start()
        try:
            yield
        finally:
            carrier.stop()
            if not self.lost:
                with suppress(Unreachable):
                    self._place.remove([FILE])
            self._own.unlink(missing_ok=True)

    def _take(self) -> None:
        if not self._place.create(FILE, self._record()):
            self._wait_for_silence()
            self._place.write(FILE, self._record())
            time.sleep(2 * self._look)  # another may have waited beside us
            self._refuse_unless_ours(self._place.read(FILE))
        write_text(self._own, self._token)

    def _wait_for_silence(self) -> None:
        first = last = self._place.read(FILE)
        if first is None or _content(first).get("token") in (self._last_token(), self._token):
            return  # its holder had the lock that we hold now, so it is gone
        self._say(
            f"{_who(first)} ran this study and has not said that it ended: watching for "
            f"{self._watch:g} s whether it lives. Known to be dead? Remove {self._place.url}/{FILE}"
        )
        deadline = time.monotonic() + self._watch
        while last == first and time.monotonic() < deadline:
            time.sleep(self._look)
            last = self._place.read(FILE)
            if last is None:
                return
        if last != first:
            raise ConfigError(
                f"{self._place.url}: {_who(last)} is running this study (it renewed its record "
                "just now)"
            )

    def _refuse_unless_ours(self, record: bytes | None) -> None:
        if record is not None and _content(record).get("token") != self._token:
            raise ConfigError(f"{self._place.url}: {_who(record)} took this study just now")

    def _renew(self) -> None:
        if self.lost:
            return
        record = self._place.read(FILE)
        if record is not None and _content(record).get("token") != self._token:
            self.lost = True
            self._say(f"{_who(record)} has taken this study: this process ends")
            self._on_loss()
            return
        self._place.write(FILE, self._record())

    def _record(self) -> bytes:
        record = {"token": self._token, "process": os.getpid(), "host": socket.gethostname()}
        return json.dumps(record | {"beat": datetime.now(UTC).isoformat()}).encode()

    def _last_token(self) -> str | None:
        """Of the driver that had this working copy's lock before."""
        return self._own.read_text() if self._own.is_file() else None


def lives(record: bytes | None, now: datetime) -> bool:
    """Whether the writer of a lease shows life, as far as two machines' clocks agree."""
    beat = None if record is None else _content(record).get("beat")
    return beat is not None and (now - datetime.fromisoformat(beat)).total_seconds() < _WATCH


def _content(record: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(record))
    except (ValueError, TypeError):
        return {}


def _who(record: bytes | None) -> str:
    content = _content(record or b"")
    return f"process {content.get('process', '?')} on {content.get('host', '?')}"
