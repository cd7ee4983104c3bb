"""Measures batches of waveforms with DIR and roll. The baseline is the CP-JKU loader.

Both give the input of the front end: (64, 44100) float32, labels, logits. Both read from a warm
cache (and page cache): ours one memory-mapped int16 array, the baseline's one file per clip.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.measure import Row, Work, compare
from benchmarks.parts.reference_loader import reference_loader, write_clip_files
from focusnet.augment import DeviceImpulseResponses
from focusnet.system.allocator import keep_freed_memory
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches

Epoch = Callable[[], Iterator[Tensor]]

CLASSES = 10
_OF_DEVICE_A = 0.73  # as in TAU22's training split


def measure(*, quick: bool = False, clips: int = 512, rounds: int = 7) -> list[Row]:
    """The rows of this part."""
    if quick:
        clips, rounds = 128, 3
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        write_clips(Path(folder), clips)
        for name, responses, minimum, aim in (("roll", 0, 10, 12), ("DIR and roll", 20, 5, 6)):
            settings: dict[str, Any] = {"folder": Path(folder), "responses": responses}
            ours, baseline, ratio = compare(our_epoch, their_epoch, settings, rounds=rounds)
            rows.append(
                Row(
                    what=f"data path, {name}",
                    unit="clips per CPU-second",
                    how=f"44.1 kHz, batch 64, {clips} clips, warm caches, 1 thread, {rounds} "
                    "rounds; baseline: CP-JKU loader in one process",
                    ours=ours,
                    baseline=baseline,
                    ratio=ratio,
                    minimum=minimum,
                    aim=aim,
                )
            )
    return rows


def write_clips(folder: Path, clips: int, samples: int = 44_100) -> None:
    """Write the same noise in the formats of both caches."""
    draw = np.random.default_rng(0)
    pcm = draw.normal(0, 3000, (clips, samples)).clip(-32768, 32767).astype(np.int16)
    np.save(folder / "samples.npy", pcm)
    write_clip_files(folder / "clips", pcm.astype(np.float32) / np.float32(32768))


def our_epoch(**settings: Any) -> Work:
    """All batches of a trial's epoch; the amount is its clips."""
    keep_freed_memory()
    return _drained(our_batches(**settings))


def their_epoch(**settings: Any) -> Work:
    """All batches of the baseline's epoch; the amount is its clips."""
    return _drained(their_batches(**settings))


def our_batches(
    folder: Path,
    responses: int,
    *,
    batch_size: int = 64,
    roll: int = 10_000,
    probability: float = 0.6,
    shuffle: bool = True,
) -> Epoch:
    """Function that starts an epoch of a trial and yields waveforms (B, samples)."""
    samples = np.load(folder / "samples.npy", mmap_mode="r")
    count, length = samples.shape
    of_a = np.array([name.endswith("-a.wav") for name in clip_names(count)])
    generator = torch.Generator().manual_seed(0)
    batches = ClipBatches(
        samples,
        1 / 32768,
        np.arange(count),
        _labels(count),
        batch_size=batch_size,
        generator=generator if shuffle else None,
        eligible_for_dir=of_a,
        template_logits=np.zeros((count, CLASSES), np.float32),
    )
    drawn = impulse_responses(responses) if responses else None
    augmentation = Augmentation(
        responses=None if drawn is None else DeviceImpulseResponses(drawn, length),
        dir_probability=probability,
        roll_samples=roll,
        mixstyle_probability=0.0,
        mixstyle_alpha=0.4,
    )

    return lambda: (augmentation.waveforms(batch, generator) for batch in batches)


def their_batches(
    folder: Path,
    responses: int,
    *,
    batch_size: int = 64,
    roll: int = 10_000,
    probability: float = 0.6,
    shuffle: bool = True,
) -> Epoch:
    """Function that starts an epoch of the baseline and yields waveforms (B, samples)."""
    count = len(list((folder / "clips").iterdir()))
    torch.manual_seed(0)
    np.random.seed(0)
    drawn = list(impulse_responses(responses).unsqueeze(1)) if responses else None
    loader = reference_loader(
        folder / "clips",
        clip_names(count),
        _labels(count),
        torch.zeros(count, CLASSES),
        batch_size=batch_size,
        roll=roll,
        responses=drawn,
        probability=probability,
        shuffle=shuffle,
    )

    return lambda: (waveforms.squeeze(1) for waveforms, *_ in loader)


def _drained(epoch: Epoch) -> Work:
    def work() -> float:
        clips = 0
        for waveforms in epoch():
            clips += len(waveforms)
            del waveforms  # a training step, too, frees them before the next batch
        return clips

    return work


def impulse_responses(count: int, taps: int = 22_050) -> Tensor:
    """(count, taps): decaying noise of half a second at 44.1 kHz."""
    noise = torch.randn(count, taps, generator=torch.Generator().manual_seed(1))
    return noise * torch.exp(-torch.arange(taps) / (taps / 10))


def clip_names(count: int) -> list[str]:
    """File names as in TAU22, with its share of clips from device a."""
    devices = ["a" if number % 100 < 100 * _OF_DEVICE_A else "b" for number in range(count)]
    return [f"audio/bus-lyon-{n}-0-0-{device}.wav" for n, device in enumerate(devices)]


def _labels(count: int) -> NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) % CLASSES
