"""Looking at audio files one by one: a glance at every file, and listening to some.

Worker processes import this module, so it stays light (no pandas, no torch).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from focusnet.dataset.decoding import Header, UnusableClip, read_header

_GLANCE = 4096  # bytes read from the middle of each file
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"FORM")  # files whose samples lie there as they are


@dataclass(frozen=True)
class Glance:
    """What a file tells without being decoded.

    ``middle`` is a hash of its size and of 4 KiB from its middle: files that differ there differ.
    ``flat`` is true where these bytes repeat one sample, as they do in any digitally silent clip
    (and where the file is too short to tell); None where the file is compressed and its bytes say
    nothing of silence.
    """

    header: Header
    size: int
    middle: bytes
    flat: bool | None


@dataclass(frozen=True)
class Sound:
    """What a file's samples tell: half the distance from the lowest to the highest, and a hash."""

    swing: float
    digest: bytes


def glance_at(paths: Sequence[str]) -> list[Glance | str]:
    """A glance at each file, or the reason why it cannot be used."""
    return [_glance(path) for path in paths]


def _glance(path: str) -> Glance | str:
    try:
        header = read_header(path)
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            plain = file.read(4) in _PLAIN and header.subtype.startswith(("PCM_", "FLOAT", "DOUB"))
            file.seek(size // 2)
            middle = file.read(_GLANCE)
    except UnusableClip as error:
        return str(error)
    except OSError as error:
        return f"not readable: {error.strerror}"
    digest = hashlib.blake2b(middle, digest_size=16, salt=size.to_bytes(16, "little")).digest()
    # The middle of a very short file may be its header: such files are cheap to decode.
    flat = size < 2 * _GLANCE or _repeats(middle, header)
    return Glance(header, size, digest, flat if plain else None)


def _repeats(content: bytes, header: Header) -> bool:
    """Whether the bytes repeat with the period of one sample of all channels."""
    width = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}
    period = width.get(header.subtype, 4) * header.channels
    return content[period:] == content[:-period]


def hash_files(paths: Sequence[str]) -> list[bytes]:
    """A hash of the whole content of each file; empty where it cannot be read."""
    return [_hash(path) for path in paths]


def _hash(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def listen_to(paths: Sequence[str]) -> list[Sound | str]:
    """The samples of each file, summed up, or the reason why it cannot be used."""
    return [_listen(path) for path in paths]


def _listen(path: str) -> Sound | str:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        return f"not readable as audio: {getattr(error, 'error_string', error)}".rstrip(".")
    if not len(samples):
        return "holds no samples"
    if not np.isfinite(samples).all():
        return "has samples that are not finite numbers"
    swing = float((samples.max(axis=0) - samples.min(axis=0)).max()) / 2
    digest = hashlib.sha256(f"{rate} {samples.shape}".encode() + samples.tobytes()).digest()
    return Sound(swing, digest)
