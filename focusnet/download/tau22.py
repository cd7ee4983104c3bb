"""Downloads and unpacks TAU22 into a folder, and skips the archives that are there already.

``.downloaded/<archive>.json`` records the files of an archive once it is unpacked. An archive is
done as long as these files exist with their sizes, so the archive itself need not be kept.
"""

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import requests
from filelock import Timeout

from focusnet.dataset.layout import META, SETUP, read_dataset
from focusnet.dataset.subsets import training_subset
from focusnet.download.display import DownloadDisplay
from focusnet.download.tau22_files import SUBSETS, TAU22, TAU22_UNPACKED, mirrored, with_sizes
from focusnet.download.unpack import unpack
from focusnet.errors import DataError
from focusnet.system.atomic import write_json
from focusnet.system.locks import held
from focusnet.system.transfer import RemoteFile, download_file
from focusnet.system.units import size_text

_RECORDS = ".downloaded"
_SPARE = 1_000_000_000  # bytes that stay free on the disk


def download_tau22(
    folder: Path, *, mirror: str | None = None, parallel: int = 4, keep_archives: bool = False
) -> Path:
    """Download TAU22 and DCASE24's subset lists to ``folder``; return the data set's root.

    Archives that are in ``folder`` under their own names already are verified and used.

    Args:
        mirror: address of a folder that holds the files, in place of the published one.
        parallel: how many archives to download at a time.
        keep_archives: whether archives stay after they have been unpacked.

    Raises:
        DataError: all that failed, and why; everything else is in ``folder``.
        KeyboardInterrupt: what has arrived is kept.
    """
    with only_download(folder / _RECORDS / "lock"):
        archives = mirrored(TAU22, mirror) if mirror else TAU22
        todo = tuple(archive for archive in archives if not _is_done(folder, archive))
        if todo:
            absent = tuple(archive for archive in todo if not (folder / archive.name).is_file())
            if absent:
                absent = tuple(map(_announced, absent)) if mirror else with_sizes(absent)
            _check_room(folder, todo, absent)
            sizes = {archive.name: archive.size for archive in absent}
            if not mirror:  # the sizes that a mirror announces serve the progress display only
                todo = tuple(replace(archive, size=sizes.get(archive.name)) for archive in todo)
            _fetch_all(folder, todo, sizes, parallel, keep_archives)
        root = _dataset_root(folder)
        _fetch_subsets(root, mirrored(SUBSETS, mirror) if mirror else SUBSETS)
    return root


@contextmanager
def only_download(lock: Path) -> Iterator[None]:
    """Hold ``lock``: two downloads would write the same partial files.

    Raises:
        DataError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock, seconds=0))
        except Timeout:
            raise DataError(
                f"{lock.parent}: another process is downloading into this folder"
            ) from None
        yield


def _announced(remote: RemoteFile) -> RemoteFile:
    """The file with the size that its server announces, None where it announces none."""
    try:
        headers = {"Accept-Encoding": "identity"}
        response = requests.head(remote.url, timeout=15, allow_redirects=True, headers=headers)
        length = response.headers.get("Content-Length", "") if response.ok else ""
    except requests.RequestException:
        length = ""
    return replace(remote, size=int(length) if length.isdigit() else None)


def _check_room(folder: Path, todo: Sequence[RemoteFile], absent: Sequence[RemoteFile]) -> None:
    """Raise DataError unless the disk has room for what is downloaded and unpacked."""
    missing = sum(max((one.size or 0) - _size(folder / f"{one.name}.part"), 0) for one in absent)
    audio = sum(".audio." in archive.name for archive in todo)
    unpacked = TAU22_UNPACKED * audio // sum(".audio." in archive.name for archive in TAU22)
    free = shutil.disk_usage(folder).free
    if missing + unpacked + _SPARE > free:
        raise DataError(
            f"{folder}: needs {size_text(missing + unpacked + _SPARE)} ({size_text(missing)} to "
            f"download, {size_text(unpacked)} unpacked, {size_text(_SPARE)} spare), "
            f"{size_text(free)} are free"
        )


def _fetch_all(
    folder: Path,
    todo: Sequence[RemoteFile],
    sizes: dict[str, int | None],
    parallel: int,
    keep_archives: bool,
) -> None:
    """Download and unpack archives in parallel; one that fails does not stop the others."""
    have = {
        archive.name: max(_size(folder / archive.name), _size(folder / f"{archive.name}.part"))
        for archive in todo
    }
    missing = sum(max((sizes.get(archive.name) or 0) - have[archive.name], 0) for archive in todo)
    stop = threading.Event()
    problems: list[str] = []

    def get(remote: RemoteFile) -> None:
        archive = folder / remote.name
        title = remote.name.removesuffix(".zip").rpartition("development.")[2]
        with display.file_bar(title, sizes.get(remote.name), have[remote.name]) as advance:
            download_file(remote, archive, advance=advance, stop=stop)
        with display.busy_bar(f"unpacking {title}"):
            files = unpack(archive, folder, stop)
        record = {"checksum": remote.checksum, "files": files}
        write_json(_record(folder, remote), record)
        if not keep_archives:
            archive.unlink()

    with DownloadDisplay(missing or None) as display, ThreadPoolExecutor(parallel) as pool:
        futures = {pool.submit(get, archive): archive for archive in todo}
        pending: set[Future[None]] = set(futures)
        try:
            while pending:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    archive = futures[future]
                    try:
                        future.result()
                    except DataError as error:
                        problems += error.problems
                    except OSError as error:
                        problems.append(f"{folder / archive.name}: {error.strerror or error}")
                    else:
                        display.done(archive.name, len(todo) - len(pending), len(todo))
        except BaseException:
            stop.set()
            for future in pending:
                future.cancel()
            raise
    if problems:
        raise DataError(
            [*problems, f"the rest is in {folder}; the same command fetches what is missing"]
        )


def _record(folder: Path, remote: RemoteFile) -> Path:
    return folder / _RECORDS / f"{remote.name}.json"


def _is_done(folder: Path, remote: RemoteFile) -> bool:
    """Whether all files of an archive have been unpacked and still exist with their sizes."""
    try:
        record = json.loads(_record(folder, remote).read_text())
        return record["checksum"] == remote.checksum and all(
            _size(folder / name) == size for name, size in record["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _dataset_root(folder: Path) -> Path:
    """The folder of the data set, which the archives create inside ``folder``."""
    found = sorted(path.parent for path in [*folder.glob(META), *folder.glob(f"*/{META}")])
    if not found:
        raise DataError(f"{folder}: the archives hold no {META}")
    return next((path for path in found if "urban-acoustic-scenes" in path.name), found[0])


def _fetch_subsets(root: Path, lists: Sequence[RemoteFile]) -> None:
    """Download the subset lists; each must name training clips of every scene."""
    problems: list[str] = []
    for remote in lists:
        path = root / SETUP / remote.name
        if path.is_file():
            continue
        try:
            download_file(remote, path)
            dataset = read_dataset(root)
        except DataError as error:
            problems += error.problems
            continue
        try:
            training_subset(dataset, int(path.stem.removeprefix("split")), seed=0)
        except DataError as error:
            path.unlink()
            problems += [f"{problem}; deleted" for problem in error.problems]
    if problems:
        raise DataError(
            [*problems, f"without these lists, subsets are drawn at random; TAU22 is in {root}"]
        )
