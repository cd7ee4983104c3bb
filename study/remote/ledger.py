"""A ledger whose folder is a working copy of one at an address, which alone is the truth.

The driver reads and writes files as it does anywhere; they are carried from here. What must be at
the address before something else happens (a trial is handed out, a study begins) is carried at
once; the rest (tables, curves) by a thread, so that a slow or lost network holds up no trial.
"""

import fnmatch
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from study.errors import Unreachable
from study.ledger.driver import record_driver
from study.ledger.ledger import Ledger, Trial
from study.remote.files import Place, check_place, open_place, remove_leftovers
from study.remote.lease import FILE as LEASE
from study.remote.lease import Lease, lives
from study.remote.mirror import WorkingCopy
from study.remote.retry import Carrier, Persistence

_EVERY = 5.0  # seconds between two looks at what is to be carried
_PREDICTIONS = "predictions.parquet"
# Of a trial's files, those that are read without its weights.
RECORDS = (
    "trial.json",
    "started.json",
    "result.json",
    "ended.json",
    "epochs.jsonl",
    "config.yaml",
    "error.txt",
    "log.txt",
    "waiting.json",
)


def working_copies(cache: Path, place: Place) -> Path:
    """The folder below a cache for copies of what is at an address."""
    return cache / "remote" / place.hash


def is_record(name: str) -> bool:
    """Whether a study's file is one of those that the ledger and its tables are made of."""
    parts = name.split("/")
    if len(parts) == 1:
        return name == ".driver" or not (name.startswith(".") or name.endswith(".lock"))
    return len(parts) == 3 and parts[0] == "trials" and parts[2] in RECORDS


class RemoteLedger(Ledger):
    """The ledger of one study at an address.

    Args:
        folder: its working copy on this machine.
        place: the study's folder at the address.
        say: gets lines for people.
    """

    def __init__(
        self, folder: Path, place: Place, say: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(folder)
        self.place = place
        self.address = place.url
        self._say = say or _print_error
        self._persistence = Persistence(self._say)
        self._copy = WorkingCopy(folder, place, is_record)
        self._curves = WorkingCopy(folder / "ray", place.below("ray"), _is_curve)
        self._carrier = Carrier(self._carry, _EVERY, self._persistence)
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._reported: set[str] = set()  # trials whose records changed at the address
        self._changed: set[str] = set()  # trials whose records changed here since
        self._unneeded: dict[str, tuple[str, ...]] = {}  # of a trial's files there
        self._unneeded_now: dict[str, tuple[str, ...]] = {}
        self._curves_changed = False

    def __str__(self) -> str:
        return self.place.url

    @contextmanager
    def locked(self, resume: str = "") -> Iterator[None]:
        """As any ledger's, against drivers on other machines too; brings the records here."""
        check_place(self.place)
        with super().locked(resume):
            self._lease = Lease(
                self.folder, self.place, self._persistence, self._say, _end_in_order
            )
            with self._lease.held():
                self.bring()
                self._persistence.insist(lambda: self._collect_predictions("trials"))
                record_driver(self.folder, resume)  # the records came with the last one's
                self._carrier = Carrier(self._carry, _EVERY, self._persistence)
                self._carrier.start()
                try:
                    yield
                finally:
                    self._carrier.stop()
                    self._unneeded_now.update(self._unneeded)  # workers may have been slower
                    self._curves_changed = True
                    self._persistence.insist(self._carry)

    def bring(self) -> None:
        """Make the working copy what the address holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        self._persistence.insist(lambda: self._copy.pull(everything=True))
        self._ended.clear()

    def trials(self) -> list[Trial]:
        self._forget_changed()
        return super().trials()

    def trial(self, name: str) -> Trial:
        self._forget_changed()
        return super().trial(name)

    def begin(self, space: dict[str, Any]) -> None:
        super().begin(space)
        self._push_now("space.yaml")

    def hand_out(self, trial: Trial) -> None:
        super().hand_out(trial)
        self._push_now(f"trials/{trial.id}/trial.json")

    def forget_failures(self) -> int:
        count = super().forget_failures()
        self._persistence.insist(self._copy.push)
        return count

    def is_running(self) -> bool:
        return lives(self.place.read(LEASE), datetime.now(UTC))

    def reported(self, trial: str) -> None:
        with self._lock:
            self._reported.add(trial)
        self._carrier.wake()

    def refresh(self, trial: str) -> None:
        self._persistence.insist(lambda: self._bring_trial(trial))
        self._curves_changed = True

    def publish(self) -> None:
        self._carrier.wake()

    def discard(self, trial: str, patterns: Iterable[str]) -> None:
        with self._lock:
            if self._unneeded.get(trial) == tuple(patterns):
                return
            self._unneeded[trial] = self._unneeded_now[trial] = tuple(patterns)
        self._carrier.wake()

    def _push_now(self, name: str) -> None:
        if self._lease is not None and self._lease.lost:
            raise ConfigError(f"{self}: another driver has taken this study")
        self._persistence.insist(lambda: self._copy.push(only=name))

    def _bring_trial(self, trial: str) -> None:
        if self._copy.pull(f"trials/{trial}"):
            with self._lock:
                self._changed.add(trial)
        self._collect_predictions(f"trials/{trial}")

    def _collect_predictions(self, below: str) -> None:
        """As ``study.outputs.tables`` does it, but there: they need no detour over this machine."""
        for name in self.place.listing(below):
            _, trial, *rest = name.split("/")
            if rest == [_PREDICTIONS] and (self.trial_folder(trial) / "result.json").is_file():
                self.place.move(name, f"predictions/{trial}.parquet")

    def _forget_changed(self) -> None:
        """Read anew what the carrier has brought; here, because it is another thread."""
        with self._lock:
            changed, self._changed = self._changed, set()
        for trial in changed:
            self._ended.pop(trial, None)

    def _carry(self) -> None:
        if self._lease is not None and self._lease.lost:
            return  # the study is another driver's
        with self._lock:
            reported, self._reported = self._reported, set()
            unneeded, self._unneeded_now = self._unneeded_now, {}
            curves, self._curves_changed = self._curves_changed, False
        try:
            for trial in reported:
                self._bring_trial(trial)
            self._copy.push()
            self._remove(unneeded)
            if curves:
                self._curves.push()
        except Unreachable:
            with self._lock:
                self._reported |= reported
                self._unneeded_now = unneeded | self._unneeded_now
                self._curves_changed |= curves
            raise

    def _remove(self, unneeded: dict[str, tuple[str, ...]]) -> None:
        """Remove files of trials, by patterns of their last names."""
        if not unneeded:
            return
        below = f"trials/{next(iter(unneeded))}" if len(unneeded) == 1 else "trials"
        gone = []
        for name in self.place.listing(below):
            trial, last = name.split("/")[1], name.rpartition("/")[2]
            if any(fnmatch.fnmatch(last, pattern) for pattern in unneeded.get(trial, ())):
                gone.append(name)
        self.place.remove(gone)


def open_ledger(results: str, study: str, cache: Path) -> RemoteLedger:
    """The ledger of a study below the address ``results``.

    Raises:
        ConfigError: fsspec has no way there.
    """
    place = open_place(results)
    return RemoteLedger(working_copies(cache, place) / study, place.below(study))


def _is_curve(name: str) -> bool:
    return "events.out." in name


def _end_in_order() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def studies_at(results: str) -> list[str]:
    """Names of the studies below an address.

    Raises:
        ConfigError: fsspec has no way there, or it does not answer.
    """
    place = open_place(results)
    check_place(place, write=False)
    return sorted(name.partition("/")[0] for name in place.match("*/space.yaml"))
