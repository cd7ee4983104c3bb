"""Unpacks zip archives from untrusted sources: no file outside the folder, no zip bomb.

Python's zipfile silently repairs unsafe names and follows links that exist on the disk. Here such
an archive is refused as a whole, before its first byte is written.
"""

import re
import shutil
import stat
import threading
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from focusnet.errors import DataError
from focusnet.system.transfer import Stopped

_LARGEST_RATIO = 200  # of unpacked to packed size; audio stays far below, zip bombs reach 1000
_SPARE = 100_000_000  # bytes that stay free on the disk
_SHOWN = 20  # problems listed in an error; the number of the others follows
_UNSAFE_NAME = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\\|^[A-Za-z]:|[\x00-\x1f]")


def unpack(archive: Path, folder: Path, stop: threading.Event | None = None) -> dict[str, int]:
    """Unpack ``archive`` into ``folder``; return the sizes of its files by name.

    Each file appears once it is complete and its CRC-32, which zipfile compares, is right.

    Raises:
        DataError: not a zip archive, damaged, unsafe (all reasons are listed), or no room.
        Stopped: ``stop`` was set.
    """
    stop = stop or threading.Event()
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            problems = _unsafe_members(archive, members) or _obstacles(archive, members, folder)
            if problems:
                more = [f"... and {len(problems) - _SHOWN:,} more"] * (len(problems) > _SHOWN)
                raise DataError(problems[:_SHOWN] + more)
            for member in members:
                if stop.is_set():
                    raise Stopped
                _extract(opened, member, folder / member.filename)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive}: not an intact zip archive: {error}") from None
    return {member.filename: member.file_size for member in members}


def _unsafe_members(archive: Path, members: list[zipfile.ZipInfo]) -> list[str]:
    """Why the archive must not be unpacked anywhere."""
    times = Counter(member.filename.casefold() for member in members)
    problems = [
        f"{archive}: refused: {member.filename!r} {reason}"
        for member in members
        if (reason := _danger(member, times[member.filename.casefold()])) is not None
    ]
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    size = archive.stat().st_size
    if packed > size:
        problems.append(f"{archive}: refused: its files overlap ({packed:,} bytes in {size:,})")
    elif total > _LARGEST_RATIO * max(size, 4096):
        problems.append(f"{archive}: refused: {size:,} bytes would become {total:,}")
    return problems


def _danger(member: zipfile.ZipInfo, times: int) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    # zipfile cuts names at a NUL, so the name as it is in the archive is checked as well.
    if _UNSAFE_NAME.search(member.filename) or _UNSAFE_NAME.search(member.orig_filename):
        return "leads out of the folder, or is no plain path with '/'"
    if kind not in (0, stat.S_IFREG):
        return "is a link" if kind == stat.S_IFLNK else "is no plain file"
    if member.flag_bits & 1:
        return "is encrypted"
    if times > 1:
        return "is there more than once"
    return None


def _obstacles(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> list[str]:
    """Why the archive cannot be unpacked into ``folder``: links in it, or too little room."""
    folder.mkdir(parents=True, exist_ok=True)
    inside = folder.resolve()
    problems = [
        f"{parent}: a link that leads out of {folder}; remove it"
        for parent in sorted({(folder / member.filename).parent for member in members})
        if not parent.resolve().is_relative_to(inside)
    ]
    total = sum(member.file_size for member in members)
    free = shutil.disk_usage(folder).free
    if total + _SPARE > free:
        problems.append(
            f"{folder}: {archive.name} needs {total / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        )
    return problems


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with opened.open(member) as packed, part.open("xb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        if part.stat().st_size != member.file_size:  # zipfile accepts a member that ends early
            raise zipfile.BadZipFile(f"{member.filename} is shorter than it says")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
