"""Sends to trackers from threads of their own, so that none can stop or slow a study."""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue

from study.ledger.ledger import Trial, read_trial
from study.space.space import Space
from study.tracking.runs import SentRecord, Tracker, tracked_run

logger = logging.getLogger(__name__)

_LONGEST_END = 60.0  # seconds that a study's end waits for its trackers
_RECORD = threading.Lock()  # for the file that all trackers share


class Tracking:
    """The trackers of a study.

    Args:
        folder: the study's.
        make: makes each tracker by its name; called in the tracker's own thread.
    """

    def __init__(self, space: Space, folder: Path, make: dict[str, Callable[[], Tracker]]) -> None:
        self._threads = [_TrackerThread(space, folder, *one) for one in make.items()]

    def catch_up(self, trials: Iterable[Trial]) -> None:
        """Send what an earlier run of the study could not send."""
        for trial in trials:
            if trial.epochs:
                self.changed(trial.id)

    def changed(self, trial: str) -> None:
        """A trial has reported an epoch, or ended."""
        for thread in self._threads:
            thread.names.put(trial)

    def close(self) -> None:
        """Wait a while until all has been sent; the rest is sent by the next ``--resume``."""
        for thread in self._threads:
            thread.names.put(None)
        for thread in self._threads:
            thread.join(_LONGEST_END)
            if thread.is_alive():
                logger.warning("tracking %s: does not answer; --resume sends the rest", thread.name)


class _TrackerThread(threading.Thread):
    def __init__(self, space: Space, folder: Path, name: str, make: Callable[[], Tracker]) -> None:
        super().__init__(name=name, daemon=True)
        self.names: SimpleQueue[str | None] = SimpleQueue()
        self._space, self._folder, self._make = space, folder, make
        self._tracker: Tracker | None = None
        self._sent: SentRecord | None = None
        self._warned = False
        self.start()

    def run(self) -> None:
        """Send trials until None comes."""
        while (name := self.names.get()) is not None:
            self._trying(lambda name=name: self._send(name))  # type: ignore[misc]
        if self._tracker is not None:
            self._trying(self._tracker.close)

    def _trying(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # whatever a tracker raises: the study goes on
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            logger.log(level, "tracking %s: %s; what it lacks is sent later", self.name, why)

    def _send(self, name: str) -> None:
        if self._tracker is None or self._sent is None:
            self._tracker = self._make()
            with _RECORD:
                self._sent = SentRecord(self._folder, self._tracker.destination)
        run = tracked_run(self._space, read_trial(self._folder / "trials" / name))
        first = self._sent.steps(name)
        ends = run.has_ended and not self._sent.has_ended(name)
        if first >= len(run.steps) and not ends:
            return
        self._tracker.send(run, first)
        if ends:
            self._tracker.end(run)
        with _RECORD:
            self._sent.add(run)
