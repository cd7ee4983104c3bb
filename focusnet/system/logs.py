"""Sends the project's log to a file or to the terminal.

Library code only logs, each module to ``logging.getLogger(__name__)``. What is written where is for
the commands to say: nothing is shown or kept unless one of these is active.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.text import Text

from focusnet.system.units import clock_time

LOGGERS = ("focusnet", "study")


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
    """Drops lines that nobody reads any more, because the pipe is closed."""

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


@contextmanager
def log_to_terminal(
    level: int = logging.INFO, stream: TextIO | None = None, *, clock: bool = False
) -> Iterator[None]:
    """Show what is logged on ``stream`` (default: stderr), while the context is active.

    ``clock`` puts the time since the start before each line, in place of the level of a warning.
    """
    stream = stream or sys.stderr
    with _attached(_terminal_handler(stream, time.monotonic() if clock else None), level):
        yield


def _terminal_handler(stream: TextIO, start: float | None) -> logging.Handler:
    def elapsed() -> str:
        return "" if start is None else f"[{clock_time(time.monotonic() - start)}] "

    class Line(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = record.levelname.lower()
            mark = f"{level}: " if record.levelno >= logging.WARNING and start is None else ""
            return mark + super().format(record)

    class TimedLine(Line):
        def format(self, record: logging.LogRecord) -> str:
            return elapsed() + super().format(record)

    if not stream.isatty():
        # Rich would wrap and pad the lines that another program or a file gets.
        handler: logging.Handler = _PlainHandler(stream)
        handler.setFormatter(TimedLine())
        return handler

    def column(moment: datetime) -> Text:
        return Text(elapsed().rstrip(), style="log.time")

    handler = RichHandler(
        console=Console(file=stream, highlight=False),
        show_time=start is not None,
        omit_repeated_times=False,
        show_level=False,
        show_path=False,
        highlighter=NullHighlighter(),
        log_time_format=column,
    )
    handler.setFormatter(Line())
    return handler


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
