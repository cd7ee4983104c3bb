"""Shows the progress of downloads: bars on a terminal, elsewhere a line for each finished file."""

import logging
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

_LINE_EVERY = 60.0  # seconds between progress lines where there are no bars


class DownloadDisplay(logging.Handler):
    """A bar for the whole download and one for each file, with rate and time left.

    While it is active, log messages of the project are printed above the bars. Its methods may be
    called from several threads.

    Args:
        missing: bytes still to download, None where that is not known.
    """

    def __init__(self, missing: int | None) -> None:
        super().__init__()
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
        self._total = self._progress.add_task("all that is missing", total=missing)
        self._missing = missing
        self._received = 0
        self._started = self._last_line = time.monotonic()
        self._received_lock = threading.Lock()

    def __enter__(self) -> "DownloadDisplay":
        self._progress.start()
        logging.getLogger("focusnet").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("focusnet").removeHandler(self)
        self._progress.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log message above the bars."""
        self._print(self.format(record))

    def _print(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def file_bar(self, name: str, size: int | None, have: int) -> Iterator[Callable[[int], None]]:
        """Show a bar for a file of which ``have`` bytes exist; yield what advances it."""
        task = self._progress.add_task(name, total=size, completed=have)

        def advance(count: int) -> None:
            self._progress.advance(task, count)
            with self._received_lock:
                self._progress.advance(self._total, count)
                self._received += count
                now = time.monotonic()
                line_is_due = not self._bars and now - self._last_line >= _LINE_EVERY
                if line_is_due:
                    self._last_line = now
            if line_is_due:
                self._print(f"{size_text(self._received)} received{self._forecast()}")

        try:
            yield advance
        finally:
            self._progress.remove_task(task)

    @contextmanager
    def busy_bar(self, title: str) -> Iterator[None]:
        """Show that something of unknown length is going on."""
        task = self._progress.add_task(title, total=None)
        try:
            yield
        finally:
            self._progress.remove_task(task)

    def done(self, name: str, number: int, of: int) -> None:
        """Print that a file is finished and, where there are no bars, rate and time left."""
        self._print(f"{number} of {of} done: {name}{'' if self._bars else self._forecast()}")

    def _forecast(self) -> str:
        if not self._missing or self._received <= 0:
            return ""
        rate = self._received / max(time.monotonic() - self._started, 1e-9)
        left = max(self._missing - self._received, 0)
        minutes = f", about {left / rate / 60:.0f} minutes" if left else ""
        return f" ({size_text(int(rate))}/s, {size_text(left)} left{minutes})"
