"""Ctrl-C and SIGTERM: the first ends a study in order, the second at once."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_by_signal() -> None:
    """From here on both signals raise KeyboardInterrupt (Ray puts a handler of its own there)."""
    for number in _SIGNALS:
        signal.signal(number, _raise)


@contextmanager
def gentle_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first signal sets; the second raises KeyboardInterrupt."""
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        asked.set()
        interrupt_by_signal()
        # Not print(): the signal may have come in the middle of one.
        sys.stderr.write("\nStopping the running trials; a second Ctrl-C ends at once.\n")

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield asked
    finally:
        interrupt_by_signal()


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
