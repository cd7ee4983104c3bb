"""What a person sees of a transfer: bars on a terminal, else a line for each file that is done."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from focusnet.system.units import size_text

_LINE_EVERY = 60.0  # seconds, where there are no bars


class Display:
    """Bytes that come in, for all files and for each, with rate and time left.

    ``to_come`` are the bytes that are still missing, None where that is not known. Threads may use
    it side by side.
    """

    def __init__(self, to_come: int | None) -> None:
        console = Console(stderr=True)
        self._bars = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self._bars,
        )
        self._all = self._progress.add_task("all that is missing", total=to_come)
        self._to_come = to_come
        self._came = 0
        self._started = self._told = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line, above the bars."""
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def of_file(self, name: str, size: int | None, have: int) -> Iterator[Callable[[int], None]]:
        """A bar for a file of which ``have`` bytes are there; yields what is told of more."""
        task = self._progress.add_task(name, total=size, completed=have)

        def advance(count: int) -> None:
            self._progress.advance(task, count)
            with self._lock:
                self._progress.advance(self._all, count)
                self._came += count
                now = time.monotonic()
                tell = not self._bars and now - self._told >= _LINE_EVERY
                if tell:
                    self._told = now
            if tell:
                self.say(f"{size_text(self._came)} have come{self._forecast()}")

        try:
            yield advance
        finally:
            self._progress.remove_task(task)

    @contextmanager
    def busy(self, title: str) -> Iterator[None]:
        """Show that something goes on whose end is not known."""
        task = self._progress.add_task(title, total=None)
        try:
            yield
        finally:
            self._progress.remove_task(task)

    def done(self, name: str, number: int, of: int) -> None:
        """Say that a file is done and, where no bars do, how fast and how long."""
        self.say(f"{number} of {of} done: {name}{'' if self._bars else self._forecast()}")

    def _forecast(self) -> str:
        if not self._to_come or self._came <= 0:
            return ""
        rate = self._came / max(time.monotonic() - self._started, 1e-9)
        left = max(self._to_come - self._came, 0)
        minutes = f", about {left / rate / 60:.0f} minutes" if left else ""
        return f" ({size_text(int(rate))}/s, {size_text(left)} left{minutes})"
