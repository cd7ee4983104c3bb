"""Reads audio files as windows of a network's length and sample rate, in constant memory.

Channels are averaged, and other rates resampled (soxr HQ, as for the training clips). A file is cut
into consecutive windows. The last window ends with the file, so it may overlap the one before; a
remainder of less than a hundredth of a window is ignored. A file shorter than a window is repeated
until it fills one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

_BLOCK = 1 << 18  # frames per read

Window = NDArray[np.float32]


class UnreadableAudio(Exception):
    """The file has no usable audio; the message is the reason, without the file's name."""


def windows(path: Path, sample_rate: int, length: int) -> Iterator[Window]:
    """Yield the windows of a file, (length,) each, in [-1, 1] at ``sample_rate`` Hz.

    Raises:
        UnreadableAudio: the file is no audio, is damaged, or has samples that are not finite.
    """
    last = np.zeros(0, np.float32)  # up to ``length`` samples before ``rest``
    rest = last
    any_whole = False
    for samples in _samples(path, sample_rate):
        rest = np.concatenate([rest, samples])
        while len(rest) >= length:
            last, rest = rest[:length], rest[length:]
            any_whole = True
            yield last
    if any_whole and 100 * len(rest) >= length:
        yield np.concatenate([last, rest])[-length:]
    elif not any_whole:
        if not len(rest):
            raise UnreadableAudio("holds no samples")
        yield np.resize(rest, length)


def _samples(path: Path, sample_rate: int) -> Iterator[Window]:
    """Yield a file's samples in blocks, as one channel at ``sample_rate``."""
    if not path.is_file():
        raise UnreadableAudio("no such file")
    if path.stat().st_size == 0:
        raise UnreadableAudio("empty file")
    try:
        with soundfile.SoundFile(path) as file:
            stream = None
            if file.samplerate != sample_rate:
                stream = soxr.ResampleStream(
                    file.samplerate, sample_rate, 1, dtype="float32", quality="HQ"
                )
            left = file.frames
            while True:
                block = file.read(_BLOCK, dtype="float32", always_2d=True)
                left -= len(block)
                if not np.isfinite(block).all():
                    raise UnreadableAudio("has samples that are not finite numbers")
                mono = block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
                ended = len(block) < _BLOCK
                if stream is not None:
                    mono = stream.resample_chunk(np.ascontiguousarray(mono), last=ended)
                yield mono
                if ended:
                    break
            if left > 0 and file.format != "MPEG":  # an MP3's header has no exact length
                raise UnreadableAudio(f"ends {left:,} samples earlier than its header says")
    except (soundfile.LibsndfileError, OSError) as error:
        cause = getattr(error, "error_string", str(error)).rstrip(".")
        raise UnreadableAudio(f"not readable as audio: {cause}") from None
