"""Synchronizes a local folder with one at an address, in both directions.

Both sides may change. A local change that was not uploaded yet is never overwritten, except by
``pull(overwrite=True)``, which makes the local folder equal to the remote one.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from study.errors import Unreachable
from study.remote.files import FileInfo, RemoteFolder, is_partial

_SAME_TIME = 1e-3  # seconds by which a file system may round


class LocalState(NamedTuple):
    """A local file changed if one of these did."""

    modified_ns: int
    size: int


class WorkingCopy:
    """Uploads and downloads the files of a folder that have changed.

    Args:
        selects: given a file's name (relative, with ``/``), whether it is synchronized at all.
        first, last: names of files that are uploaded before and after all others, in this order.
            A file that says that others are complete goes last.
    """

    def __init__(
        self,
        folder: Path,
        remote: RemoteFolder,
        selects: Callable[[str], bool],
        *,
        first: Sequence[str] = (),
        last: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.remote = remote
        self._selects = selects
        self._first, self._last = tuple(first), tuple(last)
        # Both sides of each file when they were last equal.
        self._local_synced: dict[str, LocalState] = {}
        self._remote_synced: dict[str, FileInfo] = {}
        self._lock = threading.RLock()

    def pull(
        self, subfolder: str = "", *, overwrite: bool = False, delete: bool = True
    ) -> set[str]:
        """Download remote changes; returns the names of the files that changed here.

        Args:
            subfolder: only files in it.
            overwrite: also replace or delete files that have changed here or were never synced.
            delete: delete files here that are gone remotely.
        """
        with self._lock:
            for _ in range(5):
                # Others remove files between the listing and the download: list again.
                with suppress(FileNotFoundError):
                    return self._pull(subfolder, overwrite, delete)
            return self._pull(subfolder, overwrite, delete)

    def push(
        self,
        *,
        only: str | None = None,
        exclude: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> None:
        """Upload local changes, and remove remotely what was deleted here.

        Args:
            only: nothing but this file.
            exclude: files that are left as they are.
            keep: files that are not removed.
        """
        with self._lock:
            local = dict(self._scan(""))
            for name in [only] if only else sorted(local, key=self._upload_order):
                state = local.get(name)
                if state is None or name in exclude or state == self._local_synced.get(name):
                    continue
                try:
                    self.remote.upload(self.folder / name, name)
                except FileNotFoundError:
                    continue  # deleted since the scan
                self._local_synced[name] = state
                self._remote_synced.pop(name, None)
            if only is None:
                gone = self._local_synced.keys() - {*local, *exclude, *keep}
                # Not those that were created during the uploads.
                gone = {name for name in gone if not (self.folder / name).exists()}
                self.remote.remove(gone)
                self._forget(gone)

    def _pull(self, subfolder: str, overwrite: bool, delete: bool) -> set[str]:
        found = self.remote.list_files(subfolder)
        found = {name: info for name, info in found.items() if self._selects(name)}
        local = dict(self._scan(subfolder))
        if not found and not overwrite and any(name in self._local_synced for name in local):
            # No process of ours empties a folder: this is what a lost mount looks like.
            raise Unreachable(f"{self.remote.url}/{subfolder}: is suddenly empty")
        wanted = []
        for name, info in found.items():
            state = local.get(name)
            unchanged = state == self._local_synced.get(name)
            if overwrite and state is not None and _equal(state, info):
                self._remember(name, info)
            elif overwrite or (unchanged and info != self._remote_synced.get(name)):
                wanted.append(name)
        self.remote.download(wanted, self.folder)
        for name in wanted:
            modified = found[name].modified
            if modified is not None:
                os.utime(self.folder / name, (modified, modified))
            self._remember(name, found[name])
        gone = []
        if delete:
            gone = [
                name
                for name, state in local.items()
                if name not in found and (overwrite or state == self._local_synced.get(name))
            ]
        for name in gone:
            (self.folder / name).unlink(missing_ok=True)
        self._forget(gone)
        return {*gone, *wanted}

    def _remember(self, name: str, info: FileInfo) -> None:
        self._local_synced[name] = _local_state((self.folder / name).stat())
        self._remote_synced[name] = info

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            self._local_synced.pop(name, None)
            self._remote_synced.pop(name, None)

    def _scan(self, subfolder: str) -> Iterator[tuple[str, LocalState]]:
        for parent, _, names in os.walk(self.folder / subfolder):
            for last in names:
                path = Path(parent, last)
                name = path.relative_to(self.folder).as_posix()
                if not is_partial(name) and self._selects(name):
                    with suppress(FileNotFoundError):
                        yield name, _local_state(path.stat())

    def _upload_order(self, name: str) -> int:
        last = name.rpartition("/")[2]
        if last in self._first:
            return self._first.index(last) - len(self._first)
        return 1 + self._last.index(last) if last in self._last else 0


def _local_state(status: os.stat_result) -> LocalState:
    return LocalState(status.st_mtime_ns, status.st_size)


def _equal(state: LocalState, info: FileInfo) -> bool:
    if info.modified is None or state.size != info.size:
        return False
    return abs(state.modified_ns / 1e9 - info.modified) < _SAME_TIME
