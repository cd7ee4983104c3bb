"""Runs a trial on a node that shares nothing with the others but an address.

The trial works in a local folder. What earlier attempts uploaded is downloaded first. Its records
are uploaded before Tune is told of them, its checkpoints in the background, so that the GPU does
not wait. ``started.json`` is a fencing token: an attempt that finds another one's at the address
was given up for dead, and uploads nothing any more.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focusnet.config import cache_folder
from focusnet.store import CHECKPOINT
from focusnet.system.logs import log_to_file
from study.errors import Superseded, Unreachable
from study.remote.files import RemoteFolder, open_folder, remove_partial_files
from study.remote.ledger import working_copies
from study.remote.mirror import WorkingCopy
from study.remote.retry import PeriodicTask, Retrier
from study.remote.stored_stages import KINDS, RemoteStages
from study.space.space import with_values
from study.worker.trainable import RunTrial, conduct_trial

_INTERVAL = 5.0  # seconds between two uploads
_STARTED, _EPOCHS, _RESULT, _ENDED = "started.json", "epochs.jsonl", "result.json", "ended.json"
_LAST = (_EPOCHS, _RESULT, _ENDED)  # uploaded when all other files are
# Seconds. Tune waits a minute for a trial that it stops, and 5 seconds when it exits itself.
_STOP_TIMEOUT, _EXIT_TIMEOUT = 40.0, 4.5
# Set while no trial runs in this process; Ray runs one at a time.
_idle = threading.Event()
_idle.set()

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RemoteTrialRunner:
    """Runs trials whose results are at an address.

    Args:
        address: of all results; the study's folder is below it.
        cache: the driver's cache folder, for nodes that have none of their own.
        own_caches: whether a node's FOCUSNET_CACHE takes precedence over ``cache``.
    """

    address: str
    study: str
    cache: str
    own_caches: bool

    def run(
        self,
        trial: str,
        settings: Mapping[str, Any],
        report: Report,
        run_trial: RunTrial | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Run the trial of this name; see ``conduct_trial``."""
        _idle.clear()
        try:
            if self.own_caches:
                cache = os.environ.get("FOCUSNET_CACHE") or self.cache
                settings = with_values(settings, {"data.cache": cache})
            results = open_folder(self.address)
            copies = working_copies(cache_folder(settings["data"]["cache"]), results)
            folder = copies / ".workers" / self.study / trial
            folder.mkdir(parents=True, exist_ok=True)
            with log_to_file(folder / "trial.log", logging.DEBUG):
                retrier = Retrier()
                remote = results.subfolder(f"{self.study}/trials/{trial}")
                attempt = _Attempt(folder, remote, retrier)
                attempt.download()
                reuse = (settings.get("template") or {}).get("reuse", True)
                parent = results if reuse else remote
                exchanges = {
                    kind: RemoteStages(
                        parent.subfolder(f".{kind}s" if reuse else kind), retrier, kind
                    )
                    for kind in KINDS
                }
                attempt.run(
                    settings, report, run_trial, {**(options or {}), "exchanges": exchanges}
                )
        finally:
            _idle.set()

    def wait_until_idle(self) -> None:
        """Give a trial that Tune has told to stop the time to upload its last state."""
        _idle.wait(_EXIT_TIMEOUT)


class _Attempt:
    """One attempt at a trial: what it downloads and uploads."""

    def __init__(self, folder: Path, remote: RemoteFolder, retrier: Retrier) -> None:
        self._folder, self._remote = folder, remote
        self._retrier = retrier
        self._copy = WorkingCopy(folder, remote, _is_uploaded, first=[_STARTED], last=_LAST)
        self._token: bytes | None = None  # our started.json
        self._superseded = False
        self._uploads = PeriodicTask(self._upload_running, _INTERVAL, retrier)

    def download(self) -> None:
        """Download what the previous attempt uploaded, unless that ran in this folder.

        Raises:
            Unreachable: the driver's record of the trial is not at the address.
        """
        remove_partial_files(self._folder)
        # One call, so that the end of an outage is logged in the trial.log that is downloaded.
        self._retrier.retry(self._download)
        if not (self._folder / "trial.json").is_file():
            raise Unreachable(f"{self._remote.url}: trial.json is missing")

    def _download(self) -> None:
        previous = self._remote.read(_STARTED)
        local = self._folder / _STARTED
        if previous is None or not local.is_file() or local.read_bytes() != previous:
            self._copy.pull(overwrite=True)

    def run(
        self,
        settings: Mapping[str, Any],
        report: Report,
        run_trial: RunTrial | None,
        options: Mapping[str, Any],
    ) -> None:
        """Run the trial in its local folder and upload it; see ``conduct_trial``."""

        def upload_and_report(record: dict[str, Any]) -> None:
            self._upload_before_report(record)
            report(record)

        try:
            conduct_trial(
                self._folder,
                settings,
                upload_and_report,
                run_trial,
                began=self._start_uploads,
                options=options,
            )
        except BaseException:
            self._stop_uploads()
            with suppress(Unreachable, Superseded):
                self._retrier.retry(self._upload_unfinished, _STOP_TIMEOUT)
            raise
        self._stop_uploads()
        self._retrier.retry(self._upload_all)
        self._empty_folder()

    def _start_uploads(self) -> None:
        """Upload the fencing token: from here on this attempt supersedes all others."""
        self._retrier.retry(lambda: self._copy.push(only=_STARTED))
        self._token = (self._folder / _STARTED).read_bytes()
        self._uploads.start()

    def _stop_uploads(self) -> None:
        if self._token is not None:
            self._uploads.stop()

    def _upload_before_report(self, record: Mapping[str, Any]) -> None:
        """Upload what Tune is about to be told."""
        if self._superseded:
            raise Superseded("another attempt at this trial has begun")
        if (self._folder / _RESULT).is_file():  # the last report: the driver reads the results
            self._retrier.retry(self._upload_all)
        elif "stage" in record:
            epochs = self._folder / _EPOCHS
            lines = epochs.read_bytes() if epochs.is_file() else b""
            line = json.dumps(record).encode() + b"\n"
            self._uploads.wake()  # for the epoch's checkpoint
            # During an outage the trial goes on: the next upload has all lines.
            self._retrier.try_once(lambda: self._remote.write(_EPOCHS, lines + line))

    def _upload_running(self) -> None:
        """Upload in the background; the remote checkpoint stays until the results are there."""
        if not self._is_superseded():
            self._copy.push(exclude=_LAST, keep=[CHECKPOINT])

    def _upload_all(self) -> None:
        if self._is_superseded():
            raise Superseded("another attempt at this trial has begun")
        self._copy.push()

    def _upload_unfinished(self) -> None:
        """Upload the state of a trial that is to be resumed, unless the driver has ended it."""
        if self._token is not None and self._remote.read(_ENDED) is None:
            self._upload_all()

    def _is_superseded(self) -> bool:
        token = self._remote.read(_STARTED)
        self._superseded |= self._token is not None and token not in (None, self._token)
        return self._superseded

    def _empty_folder(self) -> None:
        """Remove all files; the folder stays, because the template store lists it as a user."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def remote_trials(
    address: str, study: str, settings: Mapping[str, Any], own_caches: bool
) -> RemoteTrialRunner:
    """The runner for the trials of a study, from the settings that they share."""
    cache = cache_folder((settings.get("data") or {}).get("cache"))
    return RemoteTrialRunner(address, study, str(cache), own_caches)


def _is_uploaded(name: str) -> bool:
    return not name.startswith(("template/", "."))
