"""Retries remote calls with back-off, and repeats calls in a background thread."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from study.errors import Unreachable

T = TypeVar("T")
TIMEOUT = 3600.0  # seconds of retries for a call that the study cannot do without
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds; each pause is twice the one before

logger = logging.getLogger(__name__)


class Retrier:
    """Retries remote calls; logs an outage once, and its end once.

    Args:
        sleep: replaces ``time.sleep`` in tests.
    """

    def __init__(self, sleep: Callable[[float], object] | None = None) -> None:
        self._sleep = sleep or time.sleep
        self._down_since: float | None = None
        self._lock = threading.Lock()

    def retry(self, call: Callable[[], T], timeout: float = TIMEOUT) -> T:
        """The result of ``call``, retried with pauses that add up to ``timeout`` seconds.

        Raises:
            Unreachable: the error of the last try.
        """
        pause, left = _FIRST_PAUSE, timeout
        while True:
            try:
                result = call()
            except Unreachable as error:
                self._failed(error)
                if left <= 0:
                    raise
                self._sleep(min(pause, left))
                left -= pause
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._succeeded()
                return result

    def try_once(self, call: Callable[[], object]) -> bool:
        """Make one call; whether it reached the store."""
        try:
            call()
        except Unreachable as error:
            self._failed(error)
            return False
        self._succeeded()
        return True

    def _failed(self, error: Unreachable) -> None:
        with self._lock:
            if self._down_since is None:
                self._down_since = time.monotonic()
                logger.warning("no connection to %s; retrying, nothing is lost", error.problems[0])

    def _succeeded(self) -> None:
        with self._lock:
            if self._down_since is not None:
                seconds = time.monotonic() - self._down_since
                self._down_since = None
                logger.warning("connected again after %.0f s; uploading what is left", seconds)


class PeriodicTask:
    """Repeats a call in a background thread; after an outage with back-off.

    Args:
        call: may raise Unreachable. Any other error ends the thread and is raised by ``stop``.
        interval: seconds from the end of one call to the next; ``wake`` makes it sooner.
    """

    def __init__(self, call: Callable[[], object], interval: float, retrier: Retrier) -> None:
        self._call = call
        self._interval = interval
        self._retrier = retrier
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="periodic", daemon=True)

    def start(self) -> None:
        """Start the thread; the first call is made at once."""
        self._thread.start()

    def wake(self) -> None:
        """Make the next call now, not after the interval."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread when its current call has returned."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        pause = self._interval
        while not self._stop.is_set():
            self._wake.clear()
            try:
                succeeded = self._retrier.try_once(self._call)
            except BaseException as error:
                self._error = error
                return
            if succeeded:
                pause = self._interval
                self._wake.wait(pause)
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._stop.wait(pause)
