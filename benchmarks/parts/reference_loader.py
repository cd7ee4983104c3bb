"""The loader of the CP-JKU DCASE23 code base, as a baseline: it works clip by clip.

A reimplementation (https://github.com/fschmid56/cpjku_dcase23, ``datasets/dcase23.py``) that loads,
draws and returns the same for each clip:

1. ``torch.load`` of one file per clip, from its warm cache of decoded clips;
2. the teacher's log-probabilities of the clip;
3. for clips of device a, with a probability, ``scipy.signal.convolve`` with an impulse response;
4. a roll by a random number of samples;
5. ``DataLoader``'s default collation into a batch.

For CPU time it runs without workers, which would add the cost of passing batches between processes.
When a GPU waits for batches, it has workers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import convolve
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Item = tuple[Any, ...]


def write_clip_files(folder: Path, samples: NDArray[np.float32]) -> None:
    """Write the cache of ``CachedClips``: one file per clip, (1, samples) float32."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, clip in enumerate(samples):
        torch.save(torch.from_numpy(clip[np.newaxis].copy()), folder / f"{number}.pt")


class CachedClips(Dataset[Item]):
    """Clips from the cache, with their names, labels, devices and cities."""

    def __init__(self, folder: Path, names: list[str], labels: NDArray[np.int64]) -> None:
        self.folder = str(folder)
        self.names = np.array(names, dtype=object)
        self.labels = torch.from_numpy(labels)
        self.devices = np.zeros(len(names), np.int64)
        self.cities = np.zeros(len(names), np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Item:
        signal = torch.load(f"{self.folder}/{index}.pt")
        city, device = self.cities[index], self.devices[index]
        return signal, self.names[index], self.labels[index], device, city


class Selection(Dataset[Item]):
    """The given rows of another data set, here the training split."""

    def __init__(self, clips: Dataset[Item], rows: list[int]) -> None:
        self.clips = clips
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        signal, name, label, device, city = self.clips[self.rows[index]]
        return signal, name, label, device, city


class WithLogits(Selection):
    """Adds the teacher's log-probabilities."""

    def __init__(self, clips: Dataset[Item], rows: list[int], logits: Tensor) -> None:
        super().__init__(clips, rows)
        self.logits = torch.log_softmax(logits / 2, dim=-1)

    def __getitem__(self, index: int) -> Item:
        return (*self.clips[index], self.logits[self.rows[index]])


class WithImpulseResponses(Selection):
    """Convolves clips of device a, with ``probability``, with a random response (1, taps)."""

    def __init__(
        self, clips: Dataset[Item], rows: list[int], responses: list[Tensor], probability: float
    ) -> None:
        super().__init__(clips, rows)
        self.responses = responses
        self.probability = probability

    def __getitem__(self, index: int) -> Item:
        signal, name, *rest = self.clips[index]
        device = name.rsplit("-", 1)[1][:-4]
        if device == "a" and torch.rand(1) < self.probability:
            response = self.responses[int(np.random.randint(0, len(self.responses)))]
            signal = torch.from_numpy(convolve(signal, response, "full")[:, : signal.shape[1]])
        return (signal, name, *rest)


class WithRoll(Selection):
    """Rolls each clip by a random number of samples."""

    def __init__(self, clips: Dataset[Item], rows: list[int], furthest: int) -> None:
        super().__init__(clips, rows)
        self.furthest = furthest

    def __getitem__(self, index: int) -> Item:
        signal, *rest = self.clips[index]
        shift = int(np.random.randint(-self.furthest, self.furthest + 1))
        return (signal.roll(shift, 1), *rest)


def reference_loader(
    folder: Path,
    names: list[str],
    labels: NDArray[np.int64],
    logits: Tensor,
    *,
    batch_size: int,
    roll: int,
    responses: list[Tensor] | None,
    probability: float,
    shuffle: bool = True,
    workers: int = 0,
) -> "DataLoader[Item]":
    """The training loader of that code base for the clips in ``folder``.

    ``names`` are file names as in TAU22, which end with the device; ``responses`` are (1, taps).
    """
    rows = list(range(len(names)))
    clips: Dataset[Item] = Selection(CachedClips(folder, names, labels), rows)
    clips = WithLogits(clips, rows, logits)
    if responses:
        clips = WithImpulseResponses(clips, rows, responses, probability)
    if roll:
        clips = WithRoll(clips, rows, roll)
    return DataLoader(
        clips,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
