"""Batches of waveforms straight from the mapped array: no per-clip files, no loader processes."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor


class Batch(NamedTuple):
    """Clips that are computed together."""

    waveforms: Tensor  # (B, samples) float32 in [-1, 1]
    labels: Tensor  # (B,) int64
    eligible_for_dir: Tensor  # (B,) bool, stays on the CPU where DIR is drawn
    template_logits: Tensor  # (B, C) float32; C is 0 where there are none

    def to(self, device: torch.device) -> "Batch":
        """The batch with everything but ``eligible_for_dir`` on ``device``."""
        return Batch(
            self.waveforms.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.eligible_for_dir,
            self.template_logits.to(device, non_blocking=True),
        )


class ClipBatches:
    """Iterable over batches of a fixed list of clips, shuffled anew by ``generator`` if given.

    Args:
        samples: (n, samples) array of all clips, int16 or float32, usually a read-only memory map.
        scale: factor to full scale 1.
        rows: (N,) rows of ``samples``. ``labels`` (N,), ``eligible_for_dir`` (N,) and
            ``template_logits`` (N, C) belong to them.
    """

    def __init__(
        self,
        samples: NDArray[Any],
        scale: float,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        batch_size: int,
        generator: Generator | None = None,
        eligible_for_dir: NDArray[np.bool_] | None = None,
        template_logits: NDArray[np.float32] | None = None,
    ) -> None:
        n = len(rows)
        self.samples = samples
        self.scale = scale
        self.rows = rows
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.batch_size = batch_size
        self.generator = generator
        self.eligible_for_dir = torch.from_numpy(
            np.zeros(n, bool) if eligible_for_dir is None else eligible_for_dir.copy()
        )
        self.template_logits = torch.from_numpy(
            np.zeros((n, 0), np.float32) if template_logits is None else template_logits.copy()
        )

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        n = len(self.rows)
        shuffled = self.generator is not None
        order = torch.randperm(n, generator=self.generator) if shuffled else torch.arange(n)
        for chosen in order.split(self.batch_size):
            waveforms = torch.from_numpy(self.samples[self.rows[chosen.numpy()]])
            yield Batch(
                waveforms.float().mul_(self.scale),
                self.labels[chosen],
                self.eligible_for_dir[chosen],
                self.template_logits[chosen],
            )
