"""Summarises single audio files for the check of a data set: bytes and header, or all samples.

Worker processes import this module, so it imports neither pandas nor torch.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from focusnet.dataset.decoding import Header, UnusableClip, error_text, read_header

_MIDDLE = 4096  # bytes read from the middle of each file
_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"FORM")  # first bytes of formats with plain samples


@dataclass(frozen=True)
class FileSummary:
    """What can be said of a file without decoding it.

    ``middle`` is a hash of its size and of 4 KiB from its middle; files with different hashes
    differ. ``maybe_silent`` is True where these bytes repeat one sample, as they do in any
    digitally silent clip, or where the file is too short to tell; None for compressed files.
    """

    header: Header
    size: int
    middle: bytes
    maybe_silent: bool | None


@dataclass(frozen=True)
class DecodedSummary:
    """What a file's samples say: half the range from lowest to highest, and a hash of them."""

    amplitude: float
    digest: bytes


def summarise_files(paths: Sequence[str]) -> list[FileSummary | str]:
    """A summary of each file, or why it cannot be used."""
    return [_summarise_file(path) for path in paths]


def _summarise_file(path: str) -> FileSummary | str:
    try:
        header = read_header(path)
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            container = file.read(4)
            file.seek(size // 2)
            middle = file.read(_MIDDLE)
    except UnusableClip as error:
        return str(error)
    except OSError as error:
        return f"not readable: {error.strerror}"
    digest = hashlib.blake2b(middle, digest_size=16, salt=size.to_bytes(16, "little")).digest()
    plain = container in _CONTAINERS and header.subtype.startswith(("PCM_", "FLOAT", "DOUB"))
    # The middle of a very short file may be its header; decoding such a file costs little.
    maybe_silent = size < 2 * _MIDDLE or _repeats(middle, header)
    return FileSummary(header, size, digest, maybe_silent if plain else None)


def _repeats(content: bytes, header: Header) -> bool:
    """Whether the bytes repeat with the period of one sample of all channels."""
    width = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "DOUBLE": 8}
    period = width.get(header.subtype, 4) * header.channels
    return content[period:] == content[:-period]


def hash_files(paths: Sequence[str]) -> list[bytes]:
    """SHA-256 of each file's content; empty where it cannot be read."""
    return [_hash_file(path) for path in paths]


def _hash_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def summarise_samples(paths: Sequence[str]) -> list[DecodedSummary | str]:
    """A summary of each file's samples, or why it cannot be used."""
    return [_summarise_samples(path) for path in paths]


def _summarise_samples(path: str) -> DecodedSummary | str:
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        return f"not readable as audio: {error_text(error)}"
    if not len(samples):
        return "holds no samples"
    if not np.isfinite(samples).all():
        return "has samples that are not finite numbers"
    amplitude = float((samples.max(axis=0) - samples.min(axis=0)).max()) / 2
    digest = hashlib.sha256(f"{rate} {samples.shape}".encode() + samples.tobytes()).digest()
    return DecodedSummary(amplitude, digest)
