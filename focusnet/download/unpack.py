"""Unpacking a zip archive that came from elsewhere: no file leaves the folder, nothing swells.

Python's zipfile cleans names up silently and follows links that lie on the disk already; here such
an archive is refused as a whole, before its first byte is written.
"""

import re
import shutil
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from focusnet.download.transfer import Stopped
from focusnet.errors import DataError

_LARGEST_RATIO = 200  # audio and text stay far below; a bomb is of thousands
_SPARE = 100_000_000  # bytes that stay free on the disk
_CHUNK = 1 << 20
_UNSAFE_NAME = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\\|^[A-Za-z]:|[\x00-\x1f]")


def unpack(
    archive: Path,
    folder: Path,
    *,
    advance: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Unpack ``archive`` into ``folder``; sizes of its files by name.

    Each file appears when it is whole and its checksum (CRC-32) is right.

    Raises:
        DataError: no zip archive, damaged, dangerous (what in it, all of it), or no room.
        Stopped: ``stop`` was set.
    """
    stop = stop or threading.Event()
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened, folder)
            for member in members:
                _extract(opened, member, folder / member.filename, advance, stop)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DataError(f"{archive}: not an intact zip archive: {error}") from None
    return {member.filename: member.file_size for member in members}


def _checked(archive: Path, opened: zipfile.ZipFile, folder: Path) -> list[zipfile.ZipInfo]:
    """The archive's files, none of which can do harm."""
    members = [member for member in opened.infolist() if not member.is_dir()]
    times = Counter(member.filename.casefold() for member in members)
    problems: list[str] = []
    for member in members:
        reason = _danger(member, times[member.filename.casefold()])
        if reason is not None:
            problems.append(f"{archive}: refused: {member.filename!r} {reason}")
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    size = archive.stat().st_size
    if packed > size:
        problems.append(f"{archive}: refused: its files overlap ({packed:,} bytes in {size:,})")
    elif total > _LARGEST_RATIO * max(size, 4096):
        problems.append(f"{archive}: refused: {size:,} bytes would become {total:,}")
    if not problems:
        folder.mkdir(parents=True, exist_ok=True)
        inside = folder.resolve()
        for parent in sorted({(folder / member.filename).parent for member in members}):
            if not parent.resolve().is_relative_to(inside):
                problems.append(f"{parent}: a link that leads out of {folder}; remove it")
        free = shutil.disk_usage(folder).free
        if total + _SPARE > free:
            problems.append(
                f"{folder}: {archive.name} needs {total / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
            )
    if problems:
        more = [f"... and {len(problems) - 20:,} more"] if len(problems) > 20 else []
        raise DataError(problems[:20] + more)
    return members


def _danger(member: zipfile.ZipInfo, times: int) -> str | None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    # zipfile cuts names at a NUL; the name as it stands in the archive is the one to judge.
    if _UNSAFE_NAME.search(member.filename) or _UNSAFE_NAME.search(member.orig_filename):
        return "leads out of the folder, or is no plain path with '/'"
    if kind not in (0, stat.S_IFREG):
        return "is a link" if kind == stat.S_IFLNK else "is no plain file"
    if member.flag_bits & 1:
        return "is encrypted"
    if times > 1:
        return "is there more than once"
    return None


def _extract(
    opened: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    path: Path,
    advance: Callable[[int], None],
    stop: threading.Event,
) -> None:
    if stop.is_set():
        raise Stopped
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with opened.open(member) as packed, part.open("xb") as file:
            left = member.file_size
            while chunk := packed.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise zipfile.BadZipFile(f"{member.filename} is longer than it says")
                file.write(chunk)
            if left:
                raise zipfile.BadZipFile(f"{member.filename} is shorter than it says")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    advance(member.file_size)
