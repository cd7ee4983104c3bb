"""Fetches the microphones' impulse responses that the field uses for DIR augmentation.

They are 66 responses of MicIRP (micirp.blogspot.com), as the code of CP-JKU's DCASE23 submission
holds them (github.com/fschmid56/cpjku_dcase23, datasets/dirs). ``micirp.tsv`` beside this file has
their names, sizes and checksums.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

from focusnet.errors import DataError
from focusnet.system.locks import held
from focusnet.system.transfer import RemoteFile, Stopped, download_file
from focusnet.system.units import size_text

logger = logging.getLogger(__name__)

MICIRP = "micirp"  # what augment.dir_folder says for these
FOLDER = Path("impulse_responses", MICIRP)  # in the cache
_COMMIT = "2e20abaa64264f227c50696e5a43d4c706543ff4"
_ADDRESS = f"https://raw.githubusercontent.com/fschmid56/cpjku_dcase23/{_COMMIT}/datasets/dirs"
_PARALLEL = 8


@cache
def published() -> tuple[RemoteFile, ...]:
    """The files, where they are published."""
    lines = Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()
    table = (line.split("\t") for line in lines)
    return tuple(
        RemoteFile(name, f"{_ADDRESS}/{quote(name)}", f"sha256:{sha256}", int(size))
        for name, size, sha256 in table
    )


def fetch(
    folder: Path,
    *,
    mirror: str | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Path:
    """Download to ``folder`` the responses that it lacks, and verify all of them.

    Processes that call this at once wait for the one that downloads.

    Args:
        mirror: address of a folder that holds the files, in place of the published one.
        advance: called with the number of bytes received.

    Raises:
        DataError: why some are missing, and what to do about it.
    """
    remotes = published()
    if mirror:
        address = mirror.rstrip("/")
        remotes = tuple(replace(one, url=f"{address}/{quote(one.name)}") for one in remotes)
    size = sum(remote.size or 0 for remote in remotes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder.with_name(f"{folder.name}.lock")):
            if any(not (folder / remote.name).is_file() for remote in remotes):
                logger.info("Downloading %d impulse responses to %s", len(remotes), folder)
            one = partial(_fetch_one, folder, advance=advance, stop=threading.Event())
            with ThreadPoolExecutor(_PARALLEL) as pool:
                problems = [problem for problem in pool.map(one, remotes) if problem]
    except OSError as error:
        problems = [f"{folder}: {error.strerror or error}"]
    if problems:
        raise DataError(
            f"augment.dir_folder: the {len(remotes)} impulse responses of MicIRP "
            f"({size_text(size)}) could not be downloaded: {problems[0]}\n"
            f"  where there is a network  python -m focusnet.download impulse_responses --to DIR\n"
            f"  then copy DIR here to     {folder}\n"
            f"  or do without DIR         --set trial.augment.dir_folder=null"
        )
    return folder


def _fetch_one(
    folder: Path, remote: RemoteFile, *, advance: Callable[[int], None], stop: threading.Event
) -> str | None:
    """Fetch one file unless it is there; returns what went wrong, which stops the others."""
    try:
        download_file(remote, folder / remote.name, advance=advance, stop=stop)
    except (DataError, OSError) as error:
        stop.set()
        return str(error)
    except Stopped:
        return None
    return None


def responses_folder(setting: str | None, cache_root: Path) -> Path | None:
    """The folder that ``augment.dir_folder`` means; the published responses are fetched to it.

    Raises:
        DataError: they cannot be fetched.
    """
    if setting == MICIRP:
        return fetch(cache_root / FOLDER)
    return Path(setting).expanduser() if setting else None
