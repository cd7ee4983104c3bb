"""Counts the wall time of a study's search over all its runs, for ``search.hours``."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from focusnet.system.atomic import write_json

FILE = "search_time.json"
_WRITE_SECONDS = 10.0  # a kill loses no more


def searched_seconds(folder: Path) -> float:
    """Wall time of the search of the study in ``folder`` so far."""
    path = folder / FILE
    return float(json.loads(path.read_text())["seconds"]) if path.is_file() else 0.0


class SearchTime:
    """The time of a search that goes on in this process, kept in the study's folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._before = searched_seconds(folder)
        self._since = self._written = clock()

    def seconds(self) -> float:
        """Wall time of the search so far, over all runs."""
        now = self._clock()
        seconds = self._before + now - self._since
        if now - self._written >= _WRITE_SECONDS:
            self._written = now
            self._write(seconds)
        return seconds

    def end(self) -> None:
        """Record the time at which the search ends."""
        self._write(self._before + self._clock() - self._since)

    def _write(self, seconds: float) -> None:
        write_json(self._folder / FILE, {"seconds": round(seconds, 1)})
