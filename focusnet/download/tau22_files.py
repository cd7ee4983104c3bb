"""Lists the files of TAU22 and of its subset lists: names, addresses, checksums and sizes.

TAU22's checksums are those of its Zenodo record as soundata's loader has them
(github.com/soundata/soundata, soundata/datasets/tau2022uas_mobile.py); the list in the record
itself must agree. The subset lists come from the address that the DCASE24 baseline uses
(github.com/CPJKU/dcase2024_task1_baseline, dataset/dcase24.py). No checksum is published for them,
so they are checked against ``meta.csv`` instead.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import requests

from focusnet.errors import DataError
from focusnet.system.transfer import RemoteFile, request_error_text

TAU22_DOI = "10.5281/zenodo.6337421"
ZENODO_API = "https://zenodo.org/api/records"
TAU22_UNPACKED = 230_350 * (44 + 3 * 44_100)  # bytes: 1 s clips of 24 bit at 44.1 kHz

_RECORD = TAU22_DOI.rpartition(".")[2]
_NAME = "TAU-urban-acoustic-scenes-2022-mobile-development"
_MD5 = {
    "meta": "419b6ff6570f1030730352dc80cd8d15",
    "doc": "9c4f610bdb5d3e3e72a17d393a26452a",
    "audio.1": "8be14bdbd844481dce059ab31fbd2239",
    "audio.2": "e821abda49b069248bb75eab39df7575",
    "audio.3": "9c7897f78bb42ca0008936daddf3f8f3",
    "audio.4": "53ec3e37c0fc0be75f53c5abbc5300b8",
    "audio.5": "528422c33c5d10263203d2c61cb1f3be",
    "audio.6": "4759a9465c903e13e57d5e82e791fc28",
    "audio.7": "6d545fc83a55a17856a9ccc1ac9aff6b",
    "audio.8": "3a2916a9b5d3f43cc7a22a62b180b0d9",
    "audio.9": "071f664c86639ad730f7be4e3c39d886",
    "audio.10": "e0839d019e9b77ecbcbb0eff85965530",
    "audio.11": "fc60f1c83726be3963ae14fbcb95eeb4",
    "audio.12": "02246547f86c0a814dc63ec65d7033bb",
    "audio.13": "88ae9ef884665140d1572d8061725e00",
    "audio.14": "c3f400d74ae90e5190dc518cde43de47",
    "audio.15": "85594c6fe4f91c10aa2a410f748103b8",
    "audio.16": "6e2df8438c69f6789414aeba8cbad9d8",
}
TAU22 = tuple(
    RemoteFile(
        name=f"{_NAME}.{part}.zip",
        url=f"https://zenodo.org/records/{_RECORD}/files/{_NAME}.{part}.zip?download=1",
        checksum=f"md5:{md5}",
    )
    for part, md5 in _MD5.items()
)
SUBSETS = tuple(
    RemoteFile(
        name=f"split{percent}.csv",
        url="https://github.com/CPJKU/dcase2024_task1_baseline/releases/download/files/"
        f"split{percent}.csv",
    )
    for percent in (5, 10, 25, 50, 100)
)


def mirrored(remotes: tuple[RemoteFile, ...], mirror: str) -> tuple[RemoteFile, ...]:
    """The same files, with the same checksums, below the address ``mirror``."""
    return tuple(replace(remote, url=f"{mirror.rstrip('/')}/{remote.name}") for remote in remotes)


def with_sizes(remotes: tuple[RemoteFile, ...], api: str = ZENODO_API) -> tuple[RemoteFile, ...]:
    """``remotes`` with the sizes that TAU22's Zenodo record lists; checksums are compared.

    Raises:
        DataError: the record cannot be read, lacks files or lists other checksums.
    """
    url = f"{api}/{_RECORD}"
    try:
        response = requests.get(url, timeout=(15, 60), headers={"Accept": "application/json"})
        response.raise_for_status()
        listed = {name: entry for entry in response.json()["files"] if (name := _name(entry))}
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{url}: the record's list of files cannot be read: {request_error_text(error)}\n"
            "  if there is no way to it: fetch the archives by other means, put them into the "
            "folder under their own names, and run the same command"
        ) from None
    problems, found = [], []
    for remote in remotes:
        entry = listed.get(remote.name)
        if entry is None:
            problems.append(f"{url}: lists no file {remote.name}")
            continue
        checksum = str(entry.get("checksum", "")).removeprefix("md5:")
        if remote.checksum is not None and checksum != remote.checksum.removeprefix("md5:"):
            problems.append(
                f"{url}: {remote.name}: md5 must be {remote.checksum.removeprefix('md5:')}, as "
                f"published before, received {checksum}: the record has changed"
            )
        size = entry.get("size", entry.get("filesize"))
        found.append(replace(remote, size=size if isinstance(size, int) and size > 0 else None))
    if problems:
        raise DataError(problems)
    return tuple(found)


def _name(entry: Mapping[str, Any]) -> str | None:
    """A file's name; Zenodo has used both keys."""
    return entry.get("key") or entry.get("filename")
