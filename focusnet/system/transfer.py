"""Downloads a file over HTTP: resumes after interruptions and verifies the checksum.

Bytes are appended to ``<name>.part`` as they arrive, and each attempt asks for the rest only. The
file gets its name once it is complete and its checksum is right. Proxies and certificates come from
the environment (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE), as requests reads them.
"""

import hashlib
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from focusnet.errors import DataError
from focusnet.system.atomic import flush_to_disk

logger = logging.getLogger(__name__)

_ATTEMPTS = 5  # in a row without a new byte, after which the transfer gives up
_LONGEST_WAIT = 30.0  # seconds between two attempts
_LONGEST_REQUESTED_WAIT = 120.0  # seconds, where the server asks for a wait (Retry-After)
_TIMEOUT = (15, 60)  # seconds: to connect, and between two bytes
_CHUNK = 1 << 18
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses worth another attempt


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    ``checksum`` is "md5:..." or "sha256:...", None where none is published. ``size`` is in bytes,
    None where it is not known before the transfer.
    """

    name: str
    url: str
    checksum: str | None = None
    size: int | None = None


class Stopped(Exception):
    """The transfer was asked to stop; the bytes received so far are kept."""


class _TemporaryRefusal(Exception):
    """The server refuses for now, and may ask to wait for some ``seconds``."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class _WrongContent(Exception):
    """The bytes received cannot belong to the file."""


def download_file(
    remote: RemoteFile,
    path: Path,
    *,
    advance: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> Path:
    """Download ``remote`` to ``path`` and verify it; resume what an earlier call has left.

    A file that exists already is verified too, and downloaded again only if it is wrong.

    Args:
        advance: called with the number of bytes received, negative where bytes are discarded.
        stop: ends the transfer when set.

    Raises:
        DataError: the server refuses, sends nothing more, or sent wrong content twice.
        Stopped: ``stop`` was set.
    """
    stop = stop or threading.Event()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    if path.is_file():
        reason = _mismatch(path, remote, stop)
        if reason is None:
            return path
        advance(-path.stat().st_size)
        path.unlink()
        logger.warning("%s: %s; deleted, fetching it again", path, reason)
    for last in (False, True):
        try:
            with requests.Session() as session:
                _receive(remote, part, session, advance, stop)
            reason = _mismatch(part, remote, stop)
        except _WrongContent as error:
            reason = str(error)
        if reason is None:
            flush_to_disk(part)
            part.replace(path)
            flush_to_disk(path.parent)
            return path
        advance(-_size(part))
        part.unlink(missing_ok=True)
        if not last:
            logger.warning("%s: %s; deleted, fetching it again", remote.name, reason)
    raise DataError(f"{remote.url}: {reason}; deleted after the second attempt")


def _receive(
    remote: RemoteFile,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Complete ``part``; retry with back-off until attempts in a row bring nothing new."""
    most = _size(part)
    failures, wait = 0, 0.0
    while remote.size is None or _size(part) != remote.size:
        if stop.wait(wait):
            raise Stopped
        requested = 0.0
        try:
            if _attempt(remote, part, session, advance, stop):
                return
            reason = "the server closed the connection too early"
        except _TemporaryRefusal as error:
            reason, requested = str(error), error.seconds
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = request_error_text(error)
        failures = 0 if _size(part) > most else failures + 1
        most = max(most, _size(part))
        if failures == _ATTEMPTS:
            kept = f"; the part received is kept in {part}" if most else ""
            raise DataError(f"{remote.url}: {reason} ({_ATTEMPTS} attempts brought nothing{kept})")
        wait = max(min(2.0 ** (failures - 1), _LONGEST_WAIT) if failures else 0.0, requested)


def _attempt(
    remote: RemoteFile,
    part: Path,
    session: requests.Session,
    advance: Callable[[int], None],
    stop: threading.Event,
) -> bool:
    """Request what is missing once; return whether the file is complete as far as is known."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"}  # sizes and ranges must be those of the file itself
    if have:
        headers["Range"] = f"bytes={have}-"
    with session.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416 and have:
            if remote.size is None:
                return True  # there is nothing beyond the bytes that we have
            raise _WrongContent(f"the server has no byte {have:,}, the file has {remote.size:,}")
        start = _start_of(response, remote, have)
        if start != have:  # the whole file, although a part was requested
            advance(-have)
            have = start
        length = response.headers.get("Content-Length", "")
        end = have + int(length) if length.isdigit() else None
        with part.open("ab" if have else "wb") as file:
            # read1 returns what has arrived; read would wait for a full chunk and lose it when the
            # connection breaks.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                have += len(chunk)
                if remote.size is not None and have > remote.size:
                    raise _WrongContent(
                        f"the server sends more than the file's {remote.size:,} bytes"
                    )
                file.write(chunk)
                advance(len(chunk))
                if stop.is_set():
                    raise Stopped
    if remote.size is not None:
        return have == remote.size
    return end is None or have == end


def _start_of(response: requests.Response, remote: RemoteFile, have: int) -> int:
    """First byte of the file in ``response``; an exception where it cannot be used."""
    status = response.status_code
    refusal = f"the server says {status} {response.reason}"
    if status in _TEMPORARY:
        after = response.headers.get("Retry-After", "")
        seconds = min(float(after), _LONGEST_REQUESTED_WAIT) if after.isdigit() else 0.0
        raise _TemporaryRefusal(refusal, seconds)
    if status == 200:
        return 0
    if status != 206:
        raise DataError(f"{remote.url}: {refusal}")
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if start is None or int(start[1]) != have:
        raise _WrongContent(f"the server sends another part than requested (from byte {have:,})")
    return have


def _mismatch(path: Path, remote: RemoteFile, stop: threading.Event) -> str | None:
    """How the size or checksum of ``path`` differs from what was published; None if it does not."""
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


def request_error_text(error: Exception) -> str:
    """The cause of a failed request, without the exceptions that requests wraps around it."""
    inner = getattr(error.args[0], "reason", None) if error.args else None
    text = str(inner or error).split("\n")[0][:200]
    return text.partition("): ")[2] or text or type(error).__name__
