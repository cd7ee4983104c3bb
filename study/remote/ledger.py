"""Keeps a study's ledger at an address, with a working copy on the driver's machine.

The address is authoritative. The driver reads and writes local files, which this module uploads:
at once what others must see before the next step (a new trial, the start of a study), the rest
(tables, curves) in the background, so that a slow or lost network delays no trial.
"""

import fnmatch
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from study.errors import Unreachable
from study.ledger.driver import record_driver
from study.ledger.ledger import Ledger, Trial
from study.ledger.looks import FILE as LOOKS
from study.ledger.looks import LookRecord
from study.remote.files import RemoteFolder, check_access, open_folder, remove_partial_files
from study.remote.lease import FILE as LEASE
from study.remote.lease import Lease, is_alive
from study.remote.mirror import WorkingCopy
from study.remote.retry import PeriodicTask, Retrier

_INTERVAL = 5.0  # seconds between two uploads
_PREDICTIONS = "predictions.parquet"
# The files of a trial that the driver and the analysis read.
RECORDS = {"trial.json", "started.json", "waiting.json", "epochs.jsonl", "result.json"}
RECORDS |= {"ended.json", "config.yaml", "error.txt", "trial.log"}
RECORDS |= {"log.txt"}  # the name of trial.log in older studies


def working_copies(cache: Path, remote: RemoteFolder) -> Path:
    """The folder in a cache for copies of what is at an address."""
    return cache / "remote" / remote.digest


def is_record(name: str) -> bool:
    """Whether a study's file belongs to the ledger or its tables."""
    parts = name.split("/")
    if len(parts) == 1:
        return name == ".driver" or not (name.startswith(".") or name.endswith(".lock"))
    return len(parts) == 3 and parts[0] == "trials" and parts[2] in RECORDS


@dataclass
class _Pending:
    """What the next synchronization has to do beside uploading changed records."""

    pull: set[str] = field(default_factory=set)  # trials whose remote records changed
    remove: dict[str, tuple[str, ...]] = field(default_factory=dict)  # patterns of files, by trial
    curves: bool = False  # upload TensorBoard's files

    def add(self, other: "_Pending") -> None:
        self.pull |= other.pull
        self.remove = other.remove | self.remove
        self.curves |= other.curves


class RemoteLedger(Ledger):
    """The ledger of one study at an address.

    Args:
        folder: its working copy on this machine.
        remote: the study's folder at the address.
    """

    def __init__(self, folder: Path, remote: RemoteFolder) -> None:
        super().__init__(folder)
        self.remote = remote
        self.address = remote.url
        self._retrier = Retrier()
        self._copy = WorkingCopy(folder, remote, is_record)
        self._curves = WorkingCopy(folder / "ray", remote.subfolder("ray"), _is_curve)
        self._uploads = PeriodicTask(self._synchronize, _INTERVAL, self._retrier)
        self._lease: Lease | None = None
        self._lock = threading.Lock()  # for all below: the background task uses them too
        self._pending = _Pending()
        self._pulled: set[str] = set()  # trials that the cache of ended trials must forget
        self._discarded: dict[str, tuple[str, ...]] = {}

    def __str__(self) -> str:
        return self.remote.url

    @contextmanager
    def locked(self, resume: str = "") -> Iterator[None]:
        """Hold the study against drivers on all machines, with its records downloaded."""
        check_access(self.remote)
        with super().locked(resume):
            self._lease = Lease(self.folder, self.remote, self._retrier, _terminate)
            with self._lease.held():
                self.pull()
                self._retrier.retry(lambda: self._collect_predictions("trials"))
                record_driver(self.folder, resume)  # the download replaced it
                self._uploads = PeriodicTask(self._synchronize, _INTERVAL, self._retrier)
                self._uploads.start()
                try:
                    yield
                finally:
                    self._uploads.stop()
                    # Again: a worker may have uploaded a file after it was removed.
                    self._pending.remove.update(self._discarded)
                    self._pending.curves = True
                    self._retrier.retry(self._synchronize)

    def pull(self) -> None:
        """Make the working copy equal to what is at the address."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.folder)
        self._retrier.retry(lambda: self._copy.pull(overwrite=True))
        self._ended.clear()

    def trials(self) -> list[Trial]:
        self._forget_pulled()
        return super().trials()

    def trial(self, name: str) -> Trial:
        self._forget_pulled()
        return super().trial(name)

    def begin(self, space: dict[str, Any]) -> None:
        super().begin(space)
        self._push_now("space.yaml")

    def hand_out(self, trial: Trial) -> None:
        super().hand_out(trial)
        self._push_now(f"trials/{trial.id}/trial.json")

    def add_look(self, record: LookRecord) -> None:
        super().add_look(record)
        self._push_now(LOOKS)

    def predictions(self, trial: str) -> bytes | None:
        for name in (f"predictions/{trial}.parquet", f"trials/{trial}/{_PREDICTIONS}"):
            content = self._retrier.retry(partial(self.remote.read, name))
            if content is not None:
                return content
        return None

    def forget_failures(self) -> int:
        count = super().forget_failures()
        self._retrier.retry(self._copy.push)
        return count

    def is_running(self) -> bool:
        return is_alive(self.remote.read(LEASE), datetime.now(UTC))

    def reported(self, trial: str) -> None:
        with self._lock:
            self._pending.pull.add(trial)
        self._uploads.wake()

    def refresh(self, trial: str) -> None:
        self._retrier.retry(lambda: self._pull_trial(trial))
        with self._lock:
            self._pending.curves = True

    def publish(self) -> None:
        self._uploads.wake()

    def discard(self, trial: str, patterns: Iterable[str]) -> None:
        with self._lock:
            if self._discarded.get(trial) == tuple(patterns):
                return
            self._discarded[trial] = self._pending.remove[trial] = tuple(patterns)
        self._uploads.wake()

    def _push_now(self, name: str) -> None:
        if self._lease is not None and self._lease.lost:
            raise ConfigError(f"{self}: another driver has taken over this study")
        self._retrier.retry(lambda: self._copy.push(only=name))

    def _pull_trial(self, trial: str) -> None:
        if self._copy.pull(f"trials/{trial}"):
            with self._lock:
                self._pulled.add(trial)
        self._collect_predictions(f"trials/{trial}")

    def _collect_predictions(self, subfolder: str) -> None:
        """As ``study.outputs.tables`` does, but within the store, without a download."""
        for name in self.remote.list_files(subfolder):
            _, trial, *rest = name.split("/")
            if rest == [_PREDICTIONS] and (self.trial_folder(trial) / "result.json").is_file():
                self.remote.move(name, f"predictions/{trial}.parquet")

    def _forget_pulled(self) -> None:
        """Read again what was downloaded in the background; called in the driver's thread."""
        with self._lock:
            pulled, self._pulled = self._pulled, set()
        for trial in pulled:
            self._ended.pop(trial, None)

    def _synchronize(self) -> None:
        """Download what workers changed, upload what the driver changed; nothing without lease."""
        if self._lease is not None and self._lease.lost:
            return
        with self._lock:
            pending, self._pending = self._pending, _Pending()
        try:
            for trial in pending.pull:
                self._pull_trial(trial)
            self._copy.push()
            self._remove(pending.remove)
            if pending.curves:
                self._curves.push()
        except Unreachable:
            with self._lock:
                self._pending.add(pending)
            raise

    def _remove(self, patterns: dict[str, tuple[str, ...]]) -> None:
        """Remove files of trials at the address, by patterns of their last names."""
        if not patterns:
            return
        subfolder = f"trials/{next(iter(patterns))}" if len(patterns) == 1 else "trials"
        gone = []
        for name in self.remote.list_files(subfolder):
            trial, last = name.split("/")[1], name.rpartition("/")[2]
            if any(fnmatch.fnmatch(last, pattern) for pattern in patterns.get(trial, ())):
                gone.append(name)
        self.remote.remove(gone)


def open_ledger(results: str, study: str, cache: Path) -> RemoteLedger:
    """The ledger of a study below the address ``results``.

    Raises:
        ConfigError: fsspec does not support the address.
    """
    folder = open_folder(results)
    return RemoteLedger(working_copies(cache, folder) / study, folder.subfolder(study))


def studies_at(results: str) -> list[str]:
    """Names of the studies at an address.

    Raises:
        ConfigError: fsspec does not support the address, or it cannot be read.
    """
    folder = open_folder(results)
    check_access(folder, write=False)
    return sorted(name.partition("/")[0] for name in folder.glob("*/space.yaml"))


def _is_curve(name: str) -> bool:
    return "events.out." in name


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # the study then ends as after Ctrl-C
