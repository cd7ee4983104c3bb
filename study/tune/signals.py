"""Handles Ctrl-C and SIGTERM: the first stops a study in order, the second at once."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_by_signal() -> None:
    """Let both signals raise KeyboardInterrupt from now on.

    To be called again once Ray has started, because Ray sets a handler of its own.
    """
    for number in _SIGNALS:
        signal.signal(number, _raise)


@contextmanager
def gentle_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first signal sets; the second raises KeyboardInterrupt."""
    interrupted = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        interrupt_by_signal()
        # Neither print() nor a logger: the signal may have come in the middle of either.
        sys.stderr.write("\nStopping the running trials; a second Ctrl-C ends at once.\n")

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield interrupted
    finally:
        interrupt_by_signal()


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
