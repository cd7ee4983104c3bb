"""Fetching a file over HTTP, so that a cut line costs no byte twice and a wrong byte is never kept.

What arrives is appended to ``<name>.part``; an attempt asks for the rest only. The file gets its
name when it is complete and its checksum is the published one. Proxies and certificates are those
of the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE), as requests reads them.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from focusnet.errors import DataError
from focusnet.system.atomic import flush_to_disk

_FRUITLESS = 5  # attempts in a row that bring no byte before we give up
_LONGEST_WAIT = 30.0  # seconds from one attempt to the next
_LONGEST_REQUESTED_WAIT = 120.0  # where the server says for how long (Retry-After)
_TIMEOUT = (15, 60)  # seconds: to connect, and between two bytes
_CHUNK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # the server may answer otherwise a little later


@dataclass(frozen=True)
class Remote:
    """A file that somebody publishes.

    ``checksum`` is "md5:..." or "sha256:...", None where none is published; ``size`` is in bytes,
    None where it is not known before the transfer.
    """

    name: str
    url: str
    checksum: str | None = None
    size: int | None = None


class Stopped(Exception):
    """The transfer was asked to stop; what has arrived is kept."""


class _Passing(Exception):
    """The server asks to come again, perhaps after some ``seconds``."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Wrong(Exception):
    """What has arrived cannot be the file."""


def fetch(
    remote: Remote,
    path: Path,
    *,
    advance: Callable[[int], None] = lambda count: None,
    say: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
) -> Path:
    """Bring ``remote`` to ``path``, from where an earlier attempt was cut; verified, or not at all.

    A file that is there already is verified, too, and fetched again only if it is wrong.

    Args:
        advance: told of bytes as they arrive, negative ones where they have to come again.
        say: told in a line what went wrong and what is done about it.
        stop: ends the transfer when set.

    Raises:
        DataError: the server refuses, nothing arrives any more, or twice the wrong bytes came.
        Stopped: ``stop`` was set.
    """
    stop = stop or threading.Event()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if path.is_file():
        reason = _wrong(path, remote, stop)
        if reason is None:
            return path
        advance(-path.stat().st_size)
        path.unlink()
        say(f"{path}: {reason}; deleted, fetching it again")
    for last in (False, True):
        reason = None
        try:
            with requests.Session() as session:
                _receive(remote, part, session, advance, stop)
        except _Wrong as error:
            reason = str(error)
        reason = reason or _wrong(part, remote, stop)
        if reason is None:
            flush_to_disk(part)
            part.replace(path)
            flush_to_disk(path.parent)
            return path
        advance(-_size(part))
        part.unlink(missing_ok=True)
        if not last:
            say(f"{remote.name}: {reason}; deleted, fetching it again")
    raise DataError(f"{remote.url}: {reason}, twice; deleted")


def _receive(
    remote: Remote,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Fill ``part``, in as many attempts as bring it forward."""
    most = _size(part)
    fruitless, wait = 0, 0.0
    while remote.size is None or _size(part) != remote.size:
        if stop.wait(wait):
            raise Stopped
        requested = 0.0
        try:
            if _attempt(remote, part, session, advance, stop):
                return
            reason = "the server ended before the file did"
        except _Passing as error:
            reason, requested = str(error), error.seconds
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = reason_of(error)
        fruitless = 0 if _size(part) > most else fruitless + 1
        most = max(most, _size(part))
        if fruitless == _FRUITLESS:
            kept = f"; what has arrived is kept in {part}" if most else ""
            raise DataError(f"{remote.url}: {reason} ({_FRUITLESS} attempts brought nothing{kept})")
        wait = max(min(2.0 ** (fruitless - 1), _LONGEST_WAIT) if fruitless else 0.0, requested)


def _attempt(
    remote: Remote,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], None],
    stop: threading.Event,
) -> bool:
    """One request for what is missing; whether the file is complete as far as the server says."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself
    if have:
        headers["Range"] = f"bytes={have}-"
    with session.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        status = response.status_code
        if status == 416 and have:
            if remote.size is None:
                return True  # nothing beyond what is there
            raise _Wrong(f"the server has no byte {have:,}, the file has {remote.size:,}")
        if status in _PASSING:
            after = response.headers.get("Retry-After", "")
            seconds = min(float(after), _LONGEST_REQUESTED_WAIT) if after.isdigit() else 0.0
            raise _Passing(f"the server says {status} {response.reason}", seconds)
        if status not in (200, 206):
            raise DataError(f"{remote.url}: the server says {status} {response.reason}")
        if status == 206:
            start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if start is None or int(start[1]) != have:
                raise _Wrong(f"the server sends another part than asked for (from byte {have:,})")
        else:  # the whole file, asked for or not
            advance(-have)
            have = 0
        length = response.headers.get("Content-Length", "")
        end = have + int(length) if length.isdigit() else None
        with part.open("ab" if have else "wb") as file:
            # read1 hands on what has come; read would wait, and lose it when the line is cut.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                have += len(chunk)
                if remote.size is not None and have > remote.size:
                    raise _Wrong(f"the server sends more than the file's {remote.size:,} bytes")
                file.write(chunk)
                advance(len(chunk))
                if stop.is_set():
                    raise Stopped
    if remote.size is not None:
        return have == remote.size
    return end is None or have == end


def _wrong(path: Path, remote: Remote, stop: threading.Event) -> str | None:
    """Why ``path`` is not the file that was published; None where it is."""
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"wrong size: must be {remote.size:,} bytes, received {size:,}"
    if remote.checksum is None:
        return None
    algorithm, _, published = remote.checksum.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
            if stop.is_set():
                raise Stopped
    found = digest.hexdigest()
    if found == published.lower():
        return None
    return f"wrong checksum: {algorithm} must be {published}, received {found}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def reason_of(error: Exception) -> str:
    """What went wrong in a request, without the layers it was told through."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    told = str(inner or error).split("\n")[0][:200]
    return told.partition("): ")[2] or told or type(error).__name__
