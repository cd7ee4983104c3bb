"""TAU22 on this disk: which archives are done, which are to come, and is there room for them.

An archive is done when all its files lie where it put them, in their sizes; ``.downloaded/`` in the
folder remembers which those are, so that the archives themselves need not be kept.
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
from focusnet.download.display import Display
from focusnet.download.sources import SUBSETS, TAU22, TAU22_UNPACKED, mirrored, with_sizes
from focusnet.download.transfer import Remote, fetch
from focusnet.download.unpack import unpack
from focusnet.errors import DataError
from focusnet.system.atomic import write_json
from focusnet.system.locks import held
from focusnet.system.units import size_text

_DONE = ".downloaded"
_SPARE = 1_000_000_000  # bytes that stay free on the disk


def download_tau22(
    folder: Path, *, mirror: str | None = None, parallel: int = 4, keep_archives: bool = False
) -> Path:
    """TAU22 in ``folder``, complete and unpacked, with the DCASE24 subset lists; its root.

    Archives that lie in ``folder`` under their own names are taken as they are, once verified.

    Raises:
        DataError: what could not be had and why, all of it; the rest is there.
        KeyboardInterrupt: what has arrived is kept.
    """
    with alone(folder):
        archives = mirrored(TAU22, mirror) if mirror else TAU22
        waiting = tuple(one for one in archives if not _is_done(folder, one))
        if waiting:
            missing = tuple(one for one in waiting if not (folder / one.name).is_file())
            if missing and mirror:
                missing = tuple(_announced(one) for one in missing)
            elif missing:
                missing = with_sizes(missing)
            _check_room(folder, waiting, missing)
            sizes = {one.name: one.size for one in missing}
            if not mirror:  # what a mirror announces is good for a forecast only
                waiting = tuple(replace(one, size=sizes.get(one.name)) for one in waiting)
            _fetch_all(folder, waiting, sizes, parallel, keep_archives)
        root = _root(folder)
        _fetch_subsets(root, mirrored(SUBSETS, mirror) if mirror else SUBSETS)
    return root


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other downloads out of ``folder``: two would write the same parts."""
    (folder / _DONE).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(folder / _DONE / "lock", seconds=0))
        except Timeout:
            raise DataError(f"{folder}: another process is downloading into this folder") from None
        yield


def _announced(remote: Remote) -> Remote:
    """The remote with the size that its server announces, if it does."""
    try:
        headers = {"Accept-Encoding": "identity"}
        response = requests.head(remote.url, timeout=15, allow_redirects=True, headers=headers)
        length = response.headers.get("Content-Length", "") if response.ok else ""
    except requests.RequestException:
        length = ""
    return replace(remote, size=int(length) if length.isdigit() else None)


def _check_room(folder: Path, waiting: Sequence[Remote], missing: Sequence[Remote]) -> None:
    """Room for the archives that are still to come and for all that they will become."""
    to_come = sum(max((one.size or 0) - _size(folder / f"{one.name}.part"), 0) for one in missing)
    audio = sum(".audio." in one.name for one in waiting)
    unpacked = TAU22_UNPACKED * audio // sum(".audio." in one.name for one in TAU22)
    free = shutil.disk_usage(folder).free
    if to_come + unpacked + _SPARE > free:
        raise DataError(
            f"{folder}: needs {size_text(to_come + unpacked + _SPARE)} ({size_text(to_come)} of "
            f"archives still to come, {size_text(unpacked)} unpacked, {size_text(_SPARE)} spare), "
            f"{size_text(free)} are free"
        )


def _fetch_all(
    folder: Path,
    waiting: Sequence[Remote],
    sizes: dict[str, int | None],
    parallel: int,
    keep_archives: bool,
) -> None:
    """Fetch and unpack archives side by side; the failure of one does not stop the others."""
    have = {
        one.name: max(_size(folder / one.name), _size(folder / f"{one.name}.part"))
        for one in waiting
    }
    to_come = sum(max((sizes.get(one.name) or 0) - have[one.name], 0) for one in waiting)
    stop = threading.Event()
    problems: list[str] = []

    def get(remote: Remote) -> None:
        archive = folder / remote.name
        shown = remote.name.removesuffix(".zip").rpartition("development.")[2]
        with display.of_file(shown, sizes.get(remote.name), have[remote.name]) as advance:
            fetch(remote, archive, advance=advance, say=display.say, stop=stop)
        with display.busy(f"unpacking {shown}"):
            files = unpack(archive, folder, stop=stop)
        content = {"checksum": remote.checksum, "files": files}
        write_json(folder / _DONE / f"{remote.name}.json", content)
        if not keep_archives:
            archive.unlink()

    with Display(to_come or None) as display, ThreadPoolExecutor(parallel) as pool:
        futures = {pool.submit(get, remote): remote for remote in waiting}
        pending: set[Future[None]] = set(futures)
        try:
            while pending:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ended:
                    remote = futures[future]
                    try:
                        future.result()
                    except DataError as error:
                        problems += error.problems
                    except OSError as error:
                        problems.append(f"{folder / remote.name}: {error.strerror or error}")
                    else:
                        display.done(remote.name, len(waiting) - len(pending), len(waiting))
        except BaseException:
            stop.set()
            for future in pending:
                future.cancel()
            raise
    if problems:
        raise DataError(
            [*problems, f"the rest is in {folder}; the same command fetches what is missing"]
        )


def _is_done(folder: Path, remote: Remote) -> bool:
    try:
        content = json.loads((folder / _DONE / f"{remote.name}.json").read_text())
        return content["checksum"] == remote.checksum and all(
            _size(folder / name) == size for name, size in content["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _root(folder: Path) -> Path:
    """The data set's own folder, which the archives bring with them."""
    found = sorted(path.parent for path in [*folder.glob(META), *folder.glob(f"*/{META}")])
    if not found:
        raise DataError(f"{folder}: the archives hold no {META}")
    return next((path for path in found if "urban-acoustic-scenes" in path.name), found[0])


def _fetch_subsets(root: Path, lists: Sequence[Remote]) -> None:
    """The subset lists; nobody publishes checksums, so they must fit the data set."""
    problems: list[str] = []
    for remote in lists:
        path = root / SETUP / remote.name
        if path.is_file():
            continue
        try:
            fetch(remote, path)
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
        raise DataError([*problems, f"without them, subsets are drawn; TAU22 itself is in {root}"])
