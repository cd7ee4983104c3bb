"""Measures the first decoding of a data set.

The baseline is the first epoch of a plain script: ``librosa.load`` and ``torch.save``, clip by
clip. The project does not require librosa. If it is not installed, the baseline repeats what its
``load`` does: soundfile reads float32, soxr HQ resamples, the length is rounded up.
"""

import contextlib
import importlib.util
import io
import itertools
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from benchmarks.measure import Clock, Row, Work, alternate, rates
from benchmarks.parts.tau_layout import clip_names, write_tables
from focusnet.dataset.layout import read_dataset
from focusnet.dataset.waveforms import open_waveforms

RATE = 44_100
CORES = 2
CLOCKS: tuple[Clock, ...] = ("wall", "cpu")
BITS = 16, 24  # TAU22 is documented as 24-bit; copies re-encoded in 16 bits exist, too


def measure(*, quick: bool = False, clips: int = 4096, rounds: int = 5) -> list[Row]:
    """The rows of this part."""
    if quick:
        clips, rounds = 512, 1
    reader = f"librosa {version('librosa')}" if has_librosa() else "soundfile, soxr HQ"
    rows = []
    for bits, rate in itertools.product(BITS, (32_000, RATE)):
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            write_data_set(Path(folder), clips, bits)
            settings: dict[str, Any] = {"root": Path(folder), "rate": rate}
            pairs = alternate(our_cache, their_cache, settings, rounds=rounds, threads=CORES)
        for clock in CLOCKS:
            ours, baseline, ratio = rates(pairs, clock)
            rows.append(
                Row(
                    what=f"first-time caching, {bits} bits, 44.1 to {rate / 1000:g} kHz",
                    unit="clips per second" if clock == "wall" else "clips per CPU-second",
                    how=f"{clips} clips of 1 s, {CORES} cores, including the start of the workers, "
                    f"{rounds} rounds; baseline: {reader}, torch.save, one process",
                    ours=ours,
                    baseline=baseline,
                    ratio=ratio,
                    minimum=4.0 if clock == "wall" else None,
                )
            )
    return rows


def write_data_set(root: Path, clips: int, bits: int) -> None:
    """Write WAV files of one second of noise in 16 or 24 bits, and their tables."""
    write_tables(root, clips)
    (root / "audio").mkdir()
    draw = np.random.default_rng(0)
    samples = draw.integers(-(2**28), 2**28, RATE, dtype=np.int32)
    for number, (name, *_) in enumerate(clip_names(clips)):
        soundfile.write(root / name, np.roll(samples, number), RATE, subtype=f"PCM_{bits}")


def has_librosa() -> bool:
    """Whether librosa is installed."""
    return importlib.util.find_spec("librosa") is not None


def our_cache(root: Path, rate: int) -> Work:
    """``open_waveforms`` on an empty cache."""

    def work() -> float:
        with (
            tempfile.TemporaryDirectory(prefix="benchmark-") as cache,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            waveforms = open_waveforms(
                read_dataset(root),
                sample_rate=rate,
                cache=Path(cache),
                on_bad_clip="error",
                workers=CORES,
                progress=False,
            )
            return float(len(waveforms.samples))

    return work


def their_cache(root: Path, rate: int) -> Work:
    """First epoch of a plain script: load, resample and save, clip by clip."""

    def work() -> float:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
            paths = sorted((root / "audio").iterdir())
            for number, path in enumerate(paths):
                clip = torch.from_numpy(load_clip(path, rate)[np.newaxis])
                torch.save(clip, f"{cache}/{number}.pt")
            return float(len(paths))

    return work


def load_clip(path: Path, rate: int) -> np.ndarray:
    """``librosa.load(path, sr=rate)``, or its equivalent if librosa is not installed."""
    if has_librosa():
        samples, _ = importlib.import_module("librosa").load(path, sr=rate)
        return np.asarray(samples)
    return load_without_librosa(path, rate)


def load_without_librosa(path: Path, rate: int) -> np.ndarray:
    """Equivalent of ``librosa.load(path, sr=rate)``."""
    samples, source_rate = soundfile.read(path, dtype="float32")
    if rate == source_rate:
        return samples
    length = -(-len(samples) * rate // source_rate)
    resampled = soxr.resample(samples, source_rate, rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))
