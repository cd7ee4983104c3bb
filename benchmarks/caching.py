"""The first time: decoding a data set, against loading it clip by clip as a plain script does.

That script is ``librosa.load`` and ``torch.save`` in its first epoch. librosa is no requirement of
this project, so the baseline does what its ``load`` does and no more: soundfile's read to float32,
soxr HQ, the length rounded up. librosa itself is slower than that.
"""

import contextlib
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from benchmarks.measure import Clock, Row, Work, compare
from benchmarks.tau_layout import clip_names, write_tables
from focusnet.dataset import read_dataset
from focusnet.waveforms import open_waveforms

RATE = 44_100
CORES = 2
CLOCKS: tuple[Clock, ...] = ("wall", "cpu")


def measure(*, quick: bool = False, clips: int = 1536, rounds: int = 3) -> list[Row]:
    """The rows of this part."""
    if quick:
        clips, rounds = 512, 1
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        write_data_set(Path(folder), clips)
        for rate, clock in itertools.product((32_000, RATE), CLOCKS):
            settings: dict[str, Any] = {"root": Path(folder), "rate": rate}
            ours, baseline, ratio = compare(
                our_cache, their_cache, settings, rounds=rounds, threads=CORES, clock=clock
            )
            minimum = 4.0 if clock == "wall" and rate == 32_000 else None
            rows.append(
                Row(
                    what=f"first-time caching, 44.1 to {rate / 1000:g} kHz",
                    unit="clips per second" if clock == "wall" else "clips per CPU-second",
                    how=f"{clips} clips of 1 s, {CORES} cores, start of the workers included, "
                    f"{rounds} rounds; baseline: soundfile, soxr HQ, torch.save, one process",
                    ours=ours,
                    baseline=baseline,
                    ratio=ratio,
                    minimum=minimum,
                )
            )
    return rows


def write_data_set(root: Path, clips: int) -> None:
    """``clips`` 16-bit WAV files of one second, and their tables."""
    write_tables(root, clips)
    (root / "audio").mkdir()
    draw = np.random.default_rng(0)
    samples = draw.integers(-3000, 3000, RATE, dtype=np.int16)
    for number, (name, *_) in enumerate(clip_names(clips)):
        soundfile.write(root / name, np.roll(samples, number), RATE, subtype="PCM_16")


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
    """What a script's first epoch does: load, resample, save, clip by clip."""

    def work() -> float:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
            paths = sorted((root / "audio").iterdir())
            for number, path in enumerate(paths):
                clip = torch.from_numpy(load_clip(path, rate)[np.newaxis])
                torch.save(clip, f"{cache}/{number}.pt")
            return float(len(paths))

    return work


def load_clip(path: Path, rate: int) -> np.ndarray:
    """What ``librosa.load(path, sr=rate)`` gives, without librosa."""
    samples, source_rate = soundfile.read(path, dtype="float32")
    if rate == source_rate:
        return samples
    length = -(-len(samples) * rate // source_rate)
    resampled = soxr.resample(samples, source_rate, rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))
