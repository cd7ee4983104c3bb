"""A folder on this machine that is kept equal to one at an address, as far as this process says.

Each side may write: a file that is new on this side and was not carried yet is never overwritten
from the other, except by ``pull(everything=True)``, which takes the address for the truth.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from study.errors import Unreachable
from study.remote.files import Found, Place, attempt_until, is_leftover

_SAME_TIME = 1e-3  # seconds by which a file system may round


class WorkingCopy:
    """Carries the changed files of a folder, both ways.

    Args:
        carried: of a file's name (relative, with ``/``), whether it is carried at all.
        first, last: names of files that go before and after all others, in this order: what
            says that something is complete goes last.
    """

    def __init__(
        self,
        folder: Path,
        place: Place,
        carried: Callable[[str], bool],
        *,
        first: Sequence[str] = (),
        last: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.place = place
        self._carried = carried
        self._first, self._last = tuple(first), tuple(last)
        # How both sides looked when they were equal: on this side, and in the place's listing.
        self._here: dict[str, tuple[int, int]] = {}
        self._there: dict[str, Found] = {}
        self._lock = threading.RLock()

    def pull(self, below: str = "", *, everything: bool = False, dropping: bool = True) -> set[str]:
        """Bring what has changed there, drop what is gone there; the names of both.

        Args:
            below: only in this folder.
            everything: also what was changed on this side, or was there before.
            dropping: whether to drop anything.
        """
        changed: set[str] = set()
        with self._lock:
            attempt_until(lambda: changed.update(self._pull(below, everything, dropping)))
        return changed

    def push(
        self,
        *,
        only: str | None = None,
        without: Collection[str] = (),
        keeping: Collection[str] = (),
    ) -> None:
        """Carry what is new or changed on this side to the address, and drop what is gone here.

        Args:
            only: nothing but this file.
            without: not these files.
            keeping: these are not dropped.
        """
        with self._lock:
            here = dict(self._scan(""))
            names = [only] if only else sorted(here, key=self._rank)
            for name in names:
                state = here.get(name)
                if state is None or name in without or state == self._here.get(name):
                    continue
                try:
                    self.place.upload(self.folder / name, name)
                except FileNotFoundError:
                    continue  # gone since the scan
                self._here[name] = state
                self._there.pop(name, None)
            if only is None:
                gone = [name for name in self._here if name not in {*here, *without, *keeping}]
                # Not what was made while the others went up.
                gone = [name for name in gone if not (self.folder / name).exists()]
                self.place.remove(gone)
                for name in gone:
                    del self._here[name]
                    self._there.pop(name, None)

    def _pull(self, below: str, everything: bool, dropping: bool) -> set[str]:
        found = {name: f for name, f in self.place.listing(below).items() if self._carried(name)}
        here = dict(self._scan(below))
        if not found and not everything and any(name in self._here for name in here):
            # No process empties a folder; a mount that is gone looks like this.
            raise Unreachable(f"{self.place.url}/{below}: is empty all of a sudden")
        wanted = []
        for name, one in found.items():
            state = here.get(name)
            if everything:
                if state is None or not _same(state, one):
                    wanted.append(name)
                else:
                    self._note(name, one)
            elif state == self._here.get(name) and one != self._there.get(name):
                wanted.append(name)  # absent and unknown, or as it came
        self.place.download(wanted, self.folder)
        for name in wanted:
            moment = found[name].modified
            if moment is not None:
                os.utime(self.folder / name, (moment, moment))
            self._note(name, found[name])
        gone = {n for n in here if n not in found and (everything or here[n] == self._here.get(n))}
        gone = gone if dropping else set()
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)
            self._here.pop(name, None)
            self._there.pop(name, None)
        return gone.union(wanted)

    def _note(self, name: str, found: Found) -> None:
        status = (self.folder / name).stat()
        self._here[name] = status.st_mtime_ns, status.st_size
        self._there[name] = found

    def _scan(self, below: str) -> Iterator[tuple[str, tuple[int, int]]]:
        for parent, _, names in os.walk(self.folder / below):
            for last in names:
                path = Path(parent, last)
                name = path.relative_to(self.folder).as_posix()
                if is_leftover(name) or not self._carried(name):
                    continue
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                yield name, (status.st_mtime_ns, status.st_size)

    def _rank(self, name: str) -> int:
        last = name.rpartition("/")[2]
        if last in self._first:
            return self._first.index(last) - len(self._first)
        return 1 + self._last.index(last) if last in self._last else 0


def _same(state: tuple[int, int], found: Found) -> bool:
    if found.modified is None:
        return False
    return state[1] == found.size and abs(state[0] / 1e9 - found.modified) < _SAME_TIME
