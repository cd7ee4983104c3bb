"""Trying again, while the network is down, what an address did not answer."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from study.errors import Unreachable

T = TypeVar("T")
PATIENCE = 3600.0  # seconds that something is tried which the study cannot do without
_FIRST, _LONGEST = 1.0, 60.0  # pauses; each is twice the one before


class Persistence:
    """Says once that the address is lost, and once that it is back.

    Args:
        say: gets a line for people.
        pause: instead of ``time.sleep``, for tests.
    """

    def __init__(
        self, say: Callable[[str], None], pause: Callable[[float], object] | None = None
    ) -> None:
        self._say = say
        self._pause = pause or time.sleep
        self._down = False
        self._lock = threading.Lock()

    def insist(self, call: Callable[[], T], patience: float = PATIENCE) -> T:
        """What ``call`` returns, tried again for ``patience`` seconds in all.

        Raises:
            Unreachable: the last one of ``call``.
        """
        pause, left = _FIRST, patience
        while True:
            try:
                answer = call()
            except Unreachable as error:
                self._failed(error)
                if left <= 0:
                    raise
                self._pause(min(pause, left))
                left -= pause
                pause = min(2 * pause, _LONGEST)
            else:
                self._worked()
                return answer

    def attempt(self, call: Callable[[], object]) -> bool:
        """Whether ``call`` went through, tried once."""
        try:
            call()
        except Unreachable as error:
            self._failed(error)
            return False
        self._worked()
        return True

    def _failed(self, error: Unreachable) -> None:
        with self._lock:
            if not self._down:
                self._down = True
                self._say(f"lost {error.problems[0]}; it is tried again, nothing is lost")

    def _worked(self) -> None:
        with self._lock:
            if self._down:
                self._down = False
                self._say("the address answers again; what was left is carried now")


class Carrier:
    """A thread that calls ``carry`` every now and then, with longer pauses while that fails.

    Args:
        carry: may raise Unreachable; any other error ends the thread and comes from ``stop``.
        every: seconds from the end of one call to the next; ``wake`` makes it sooner.
    """

    def __init__(self, carry: Callable[[], object], every: float, persistence: Persistence):
        self._carry = carry
        self._every = every
        self._persistence = persistence
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="carrier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something is there to be carried."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread, after the call that it is in."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        pause = self._every
        while not self._stop.is_set():
            self._wake.clear()
            try:
                went_through = self._persistence.attempt(self._carry)
            except BaseException as error:
                self._error = error
                return
            if went_through:
                pause = self._every
                self._wake.wait(pause)
            else:
                pause = min(2 * pause, _LONGEST)
                self._stop.wait(pause)
