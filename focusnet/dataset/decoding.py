"""Reads headers and samples of clips, and says why a clip cannot be used.

Worker processes import this module, so it imports neither pandas nor torch.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from focusnet.system.allocator import keep_freed_memory

# Clips resampled together. More gain nothing, and their temporaries exceed the CPU's cache.
_CLIPS_AT_A_TIME = 8


@dataclass(frozen=True)
class Header:
    """A file's header; ``frames`` are samples per channel, ``subtype`` is such as "PCM_16"."""

    rate: int
    channels: int
    frames: int
    subtype: str


@dataclass(frozen=True)
class Form:
    """Form of stored clips: ``source_frames`` at ``source_rate`` become ``length`` at ``rate``."""

    source_rate: int
    source_frames: int
    rate: int
    dtype: str  # "int16" (16-bit sources at their own rate, exact) or "float32"

    @property
    def length(self) -> int:
        """Samples of a stored clip, rounded up as librosa does."""
        return -(-self.source_frames * self.rate // self.source_rate)

    @property
    def clip_bytes(self) -> int:
        """Size of a stored clip."""
        return self.length * np.dtype(self.dtype).itemsize


class UnusableClip(Exception):
    """A clip that cannot be used; the message is the reason, without the clip's name."""


def read_header(path: str) -> Header:
    """Read a file's header.

    Raises:
        UnusableClip: it is missing, empty or no audio.
    """
    if not os.path.isfile(path):
        raise UnusableClip("no such file")
    if os.path.getsize(path) == 0:
        raise UnusableClip("empty file")
    if not os.access(path, os.R_OK):
        raise UnusableClip("no permission to read it")
    try:
        with soundfile.SoundFile(path) as file:
            header = Header(file.samplerate, file.channels, file.frames, file.subtype)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UnusableClip(f"not readable as audio: {error_text(error)}") from None
    if header.frames == 0:
        raise UnusableClip("holds no samples")
    return header


def read_headers(paths: Sequence[str]) -> list[Header | str]:
    """Header of each file, or the reason why it cannot be used."""
    headers: list[Header | str] = []
    for path in paths:
        try:
            headers.append(read_header(path))
        except UnusableClip as error:
            headers.append(str(error))
    return headers


def common_form(headers: Sequence[Header | str], sample_rate: int) -> tuple[Form, dict[int, str]]:
    """The form that most clips have, and by index why each other clip cannot be used."""
    bad = {row: header for row, header in enumerate(headers) if isinstance(header, str)}
    read = {row: header for row, header in enumerate(headers) if isinstance(header, Header)}
    rate = _most_common([header.rate for header in read.values()], sample_rate)
    same_rate = [header.frames for header in read.values() if header.rate == rate]
    frames = _most_common(same_rate, rate)
    for row, header in read.items():
        reasons = []
        if header.channels != 1:
            reasons.append(f"{header.channels} channels, must be mono")
        if header.rate != rate:
            reasons.append(f"{header.rate} Hz, most clips have {rate} Hz")
        elif header.frames != frames:
            lasts, most = header.frames / rate, frames / rate
            than = "longer" if lasts > most else "shorter"
            reasons.append(
                f"{header.frames} samples ({lasts:.3f} s), {than} than most, which have {frames} "
                f"({most:.3f} s)"
            )
        if reasons:
            bad[row] = "; ".join(reasons)
    exact = sample_rate == rate and all(
        header.subtype == "PCM_16" for row, header in read.items() if row not in bad
    )
    return Form(rate, frames, sample_rate, "int16" if exact else "float32"), bad


def decode(path: str, form: Form) -> np.ndarray:
    """The samples of a mono clip: (length,) in the form's dtype.

    Resampling is soxr HQ on float32, with librosa's length: ``librosa.load(path, sr=rate)`` returns
    the same samples.

    Raises:
        UnusableClip: it cannot be decoded, or its samples are not finite.
    """
    samples = np.empty((1, form.source_frames), form.dtype)
    _read_into(samples[0], path)
    stored = np.zeros((1, form.length), form.dtype)
    _store(stored, samples, form)
    return stored[0]


def decode_into(
    array: str, offset: int, paths: Sequence[str], form: Form
) -> list[tuple[str | None, str | None]]:
    """Decode clips into the file ``array``, one after another from byte ``offset`` on.

    Returns (SHA-256 of the stored samples, None) or (None, reason) for each; unusable clips are
    stored as zeros. Written as a file, because a full disk kills a process that writes to a memory
    map.
    """
    keep_freed_memory()
    block = np.zeros((len(paths), form.length), np.dtype(form.dtype).newbyteorder("<"))
    outcomes: list[tuple[str | None, str | None]] = []
    for start in range(0, len(paths), _CLIPS_AT_A_TIME):
        part = paths[start : start + _CLIPS_AT_A_TIME]
        samples = np.zeros((len(part), form.source_frames), form.dtype)
        reasons: list[str | None] = []
        for row, path in zip(samples, part, strict=True):
            try:
                _read_into(row, path)
                reasons.append(None)
            except UnusableClip as error:
                row[:] = 0
                reasons.append(str(error))
        stored = block[start : start + len(part)]
        _store(stored, samples, form)
        for row, reason in zip(stored, reasons, strict=True):
            digest = None if reason else hashlib.sha256(row.data).hexdigest()
            outcomes.append((digest, reason))
    with open(array, "r+b") as file:
        file.seek(offset)
        file.write(block.data)
    return outcomes


def _read_into(row: np.ndarray, path: str) -> None:
    """Fill ``row`` (samples,), int16 or float32, with a mono file's samples; or UnusableClip."""
    try:
        with soundfile.SoundFile(path) as file:
            shape = (file.frames,) if file.channels == 1 else (file.frames, file.channels)
            if shape == row.shape:
                # libsndfile's own conversion gives the same numbers and takes twice as long.
                integers = file.subtype == "PCM_16" and row.dtype != np.int16
                target = np.empty(row.shape, np.int16) if integers else row
                shape = file.read(out=target).shape
                if integers:
                    np.multiply(target, np.float32(1 / 32768), out=row)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UnusableClip(f"not readable as audio: {error_text(error)}") from None
    if shape != row.shape:
        raise UnusableClip(f"its header promises shape {row.shape}, its samples have {shape}")
    if not np.isfinite(row).all():
        raise UnusableClip("has samples that are not finite numbers")


def _store(target: np.ndarray, samples: np.ndarray, form: Form) -> None:
    """Resample ``samples`` (clips, frames) into ``target`` (clips, length), which holds zeros."""
    if form.rate == form.source_rate:
        target[:] = samples
        return
    # As channels of one sound, the clips share the design of the filter and nothing else.
    resampled = soxr.resample(samples.T, form.source_rate, form.rate, quality="HQ")
    kept = resampled[: form.length].T
    target[:, : kept.shape[1]] = kept


def error_text(error: Exception) -> str:
    """The message of soundfile's or the system's error, without its prefix and full stop."""
    return getattr(error, "error_string", str(error)).rstrip(".")


def _most_common(values: Sequence[int], default: int) -> int:
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], value), default=default)
