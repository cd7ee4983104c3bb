"""Sends the project's log to a file or to the terminal.

Library code only logs, each module to ``logging.getLogger(__name__)``. What is written where is for
the commands to say: nothing is shown or kept unless one of these is active.
"""

import logging
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from focusnet.system.units import clock_time

LOGGERS = ("focusnet", "study")
ON_STATUS_LINE = "on_status_line"  # marks records that a terminal shows on its rewritten line


class _FileHandler(WatchedFileHandler):
    """Writes lines as far as the disk has room: a log is no reason to end a training.

    The file may be replaced or removed meanwhile, as a download of remote results does.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # of opening the file, at the first line
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


class _PlainHandler(logging.StreamHandler):
    """Writes lines as they are; drops them when nobody reads any more: the pipe is closed."""

    def __init__(self, stream: TextIO, start: float | None) -> None:
        super().__init__(stream)
        self._start = start

    def format(self, record: logging.LogRecord) -> str:
        return _marked(super().format(record), record, self._start)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


@contextmanager
def log_to_file(path: Path, level: int = logging.INFO) -> Iterator[None]:
    """Append what is logged to ``path``, with times, while the context is active.

    A file that cannot be opened is not written: the program goes on without its log. If an outer
    context writes to the same file, this one does nothing.
    """
    active = logging.getLogger(LOGGERS[0]).handlers
    if os.path.abspath(path) in [h.baseFilename for h in active if isinstance(h, _FileHandler)]:
        yield
        return
    handler: logging.Handler = _FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    with _attached(handler, level):
        yield


class Terminal(logging.Handler):
    """Writes to a terminal: long lines are wrapped under their text, and one can be rewritten.

    Args:
        start: time on the monotonic clock that the times before the lines count from; without it
            warnings have their level before them.
    """

    def __init__(self, stream: TextIO, start: float | None) -> None:
        super().__init__()
        self.console = Console(file=stream, highlight=False)
        self._start = start
        self._live: Live | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless the rewritten line shows it."""
        if self._live is not None and getattr(record, ON_STATUS_LINE, False):
            return
        try:
            lines = _marked(self.format(record), record, self._start).split("\n")
            wrapped = "\n".join(wrap(line, self.console.width) for line in lines)
            self.console.print(Text(wrapped), soft_wrap=True)
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore that the terminal is gone."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    @contextmanager
    def status_line(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that shows a text below all other lines, in place of the one before."""

        def show(text: str) -> None:
            with suppress(OSError):  # the terminal is gone
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield show
            finally:
                self._live = None


@contextmanager
def log_to_terminal(
    level: int = logging.INFO, stream: TextIO | None = None, *, clock: bool = False
) -> Iterator[Terminal | None]:
    """Show what is logged on ``stream`` (default: stderr), while the context is active.

    Yields the terminal, or None if the stream is none. ``clock`` puts the time since the start
    before each line, in place of the level of a warning.
    """
    stream = stream or sys.stderr
    start = time.monotonic() if clock else None
    terminal = Terminal(stream, start) if stream.isatty() else None
    if terminal is not None and terminal.console.is_dumb_terminal:
        terminal = None
    with _attached(terminal or _PlainHandler(stream, start), level):
        yield terminal


def _marked(text: str, record: logging.LogRecord, start: float | None) -> str:
    if start is not None:
        return f"[{clock_time(time.monotonic() - start)}] {text}"
    level = record.levelname.lower()
    return f"{level}: {text}" if record.levelno >= logging.WARNING else text


def wrap(line: str, width: int) -> str:
    """Break a line of words in columns: its further lines begin under the last column's text."""
    columns = re.match(r"(\[[0-9:]+\] )?( *\S+ {2,}| +)?", line)
    indent = columns.end() if columns else 0
    if indent > width // 4:
        indent = 4
    parts = textwrap.wrap(
        line, max(width, 20), subsequent_indent=" " * indent, drop_whitespace=True,
        break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(parts)


@contextmanager
def _attached(handler: logging.Handler, level: int) -> Iterator[None]:
    handler.setLevel(level)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(min(level, logger.level or level))
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)
        with suppress(OSError):
            handler.close()
