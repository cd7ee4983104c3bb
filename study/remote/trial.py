"""A trial on a node that shares nothing with the others but an address.

It runs in a folder of the node's own. What earlier attempts left is brought there first; its
records are at the address before Tune hears of them; its checkpoints follow in the background, so
that the GPU does not wait for them. ``started.json`` is a fence: an attempt that finds another's
there has been given up for dead, and carries nothing any more.
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
from focusnet.trial.folder import TrialFolder
from study.errors import Superseded, Unreachable
from study.remote.files import TEMPLATES, open_place, remove_leftovers
from study.remote.ledger import working_copies
from study.remote.mirror import WorkingCopy
from study.remote.retry import Carrier, Persistence
from study.remote.templates import RemoteTemplates
from study.space.space import with_values
from study.worker.trainable import RunTrial, conduct_trial

logger = logging.getLogger(__name__)

_EVERY = 5.0  # seconds between two looks at what is to be carried
_STARTED, _EPOCHS, _RESULT, _ENDED = "started.json", "epochs.jsonl", "result.json", "ended.json"
_LAST = (_EPOCHS, _RESULT, _ENDED)
# Tune waits for a minute for a trial that it stops, and for 5 seconds when it ends itself.
_PATIENCE_OF_TUNE, _PATIENCE_AT_THE_END = 40.0, 4.5
# Whether no trial is under way in this process.
_idle = threading.Event()
_idle.set()


@dataclass(frozen=True)
class RemoteTrialRunner:
    """Where trials find what they share.

    Args:
        address: of all results; the study's folder is below it.
        cache: of the node that the command runs on, for nodes that name no other.
        own_caches: whether a node's own FOCUSNET_CACHE comes first.
    """

    address: str
    study: str
    cache: str
    own_caches: bool

    def run(
        self,
        trial: str,
        settings: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        run_trial: RunTrial | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """As ``conduct_trial``, for the trial of this name."""
        _idle.clear()
        try:
            self._run(trial, settings, report, run_trial, options or {})
        finally:
            _idle.set()

    def wait_until_idle(self) -> None:
        """Give a trial that Tune has told to stop the time to carry its last state."""
        _idle.wait(_PATIENCE_AT_THE_END)

    def _run(
        self,
        trial: str,
        settings: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        run_trial: RunTrial | None,
        options: Mapping[str, Any],
    ) -> None:
        if self.own_caches:
            cache = os.environ.get("FOCUSNET_CACHE") or self.cache
            settings = with_values(settings, {"data.cache": cache})
        place = open_place(self.address)
        copies = working_copies(cache_folder(settings["data"]["cache"]), place)
        folder = TrialFolder(copies / ".workers" / self.study / trial)
        persistence = Persistence(logger.info)
        own = place.below(f"{self.study}/trials/{trial}")
        template = settings.get("template") or {}
        shared = place.below(TEMPLATES) if template.get("reuse", True) else own.below("template")
        attempt = _Attempt(
            WorkingCopy(folder.path, own, _carried, first=[_STARTED], last=_LAST), persistence
        )
        attempt.take_over()
        if not (folder.path / "trial.json").is_file():
            raise Unreachable(f"{own.url}: the trial's record is not there")
        templates = RemoteTemplates(shared, persistence, logger.info)
        attempt.conduct(settings, report, run_trial, {**options, "template_exchange": templates})


class _Attempt:
    """One attempt at a trial, and what it carries."""

    def __init__(self, copy: WorkingCopy, persistence: Persistence) -> None:
        self._copy = copy
        self._folder, self._place = copy.folder, copy.place
        self._persistence = persistence
        self._own: bytes | None = None  # our started.json
        self._superseded = False
        self._carrier = Carrier(self._carry, _EVERY, persistence)

    def take_over(self) -> None:
        """Bring what the attempt before has left, unless that was here."""
        remove_leftovers(self._folder)
        before = self._persistence.insist(lambda: self._place.read(_STARTED))
        here = self._folder / _STARTED
        if before is None or not here.is_file() or here.read_bytes() != before:
            self._persistence.insist(lambda: self._copy.pull(everything=True))

    def conduct(
        self,
        settings: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        run_trial: RunTrial | None,
        options: Mapping[str, Any],
    ) -> None:
        def tell(record: dict[str, Any]) -> None:
            self._before_report(record)
            report(record)

        try:
            conduct_trial(
                self._folder, settings, tell, run_trial, began=self._begin, options=options
            )
        except BaseException:
            self._stop()
            with suppress(Unreachable, Superseded):
                self._persistence.insist(self._leave, _PATIENCE_OF_TUNE)
            raise
        self._stop()
        self._persistence.insist(self._push_all)
        self._clear()

    def _begin(self) -> None:
        """Say at the address that this attempt has begun; from here on it is the one."""
        self._persistence.insist(lambda: self._copy.push(only=_STARTED))
        self._own = (self._folder / _STARTED).read_bytes()
        self._carrier.start()

    def _before_report(self, record: Mapping[str, Any]) -> None:
        """Have at the address what Tune will be told."""
        if self._superseded:
            raise Superseded("another attempt at this trial has begun")
        if (self._folder / _RESULT).is_file():  # the last one: the driver looks for the results
            self._persistence.insist(self._push_all)
        elif "stage" in record:
            epochs = self._folder / _EPOCHS
            lines = epochs.read_bytes() if epochs.is_file() else b""
            line = json.dumps(record).encode() + b"\n"
            self._carrier.wake()  # the epoch's state
            # While the address is lost the trial goes on: all lines go up later.
            self._persistence.attempt(lambda: self._place.write(_EPOCHS, lines + line))

    def _carry(self) -> None:
        """What the thread does. The checkpoint stays there until the results are there."""
        if not self._is_superseded():
            self._copy.push(without=_LAST, keeping=[CHECKPOINT])

    def _push_all(self) -> None:
        if self._is_superseded():
            raise Superseded("another attempt at this trial has begun")
        self._copy.push()

    def _is_superseded(self) -> bool:
        started = self._place.read(_STARTED)
        self._superseded |= self._own is not None and started not in (None, self._own)
        return self._superseded

    def _leave(self) -> None:
        """What goes up when a trial is stopped, to be taken up again: unless it has ended."""
        if self._own is not None and self._place.read(_ENDED) is None:
            self._push_all()

    def _stop(self) -> None:
        if self._own is not None:
            self._carrier.stop()

    def _clear(self) -> None:
        """Leave the empty folder only: it says in the store of templates who took one."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def remote_trials(
    address: str, study: str, settings: Mapping[str, Any], own_caches: bool
) -> RemoteTrialRunner:
    """A runner for the trials of ``study``, from the settings that they share."""
    cache: Path = cache_folder((settings.get("data") or {}).get("cache"))
    return RemoteTrialRunner(address, study, str(cache), own_caches)


def _carried(name: str) -> bool:
    return not name.startswith(("template/", "."))
