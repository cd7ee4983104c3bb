"""Makes batches of waveforms straight from the mapped array: no clip files, no loader processes.

On CPU, moving waveforms in memory is what a batch costs, so each moves once: from the map to its
rolled place. A batch therefore names its clips, and gathers them when they are needed; on a GPU
from the GPU's own memory, if a ``GpuClipCache`` holds them there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from focusnet.augment import roll_by_index
from focusnet.system.device import send
from focusnet.training.gpu_clips import GpuClipCache

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips where they are stored: rows of an array of all clips."""

    samples: NDArray[Any]  # (n, samples) int16 or float32
    scale: float  # to full scale 1
    rows: NDArray[np.int64]  # (B,)
    device: torch.device = CPU  # where they are gathered
    gpu_cache: GpuClipCache | None = None  # filled with the rows, on that device

    def take(self, places: Tensor) -> "Clips":
        """Some of the clips, by their places (on the CPU) in this batch."""
        return replace(self, rows=self.rows[places.numpy()])

    def gather(self, shifts: Tensor | None = None, length: int | None = None) -> Tensor:
        """Waveforms (B, samples), float32 in [-1, 1].

        Args:
            shifts: (B,) on the CPU: the samples, 0 or more, that each clip is rolled by.
            length: that clips are padded to with zeros; excludes ``shifts``.
        """
        count, size = len(self.rows), self.samples.shape[1]
        if self.gpu_cache is not None or self.device.type != "cpu":
            stored = self._stored()
            if shifts is not None:
                stored = roll_by_index(stored, shifts)
            waveforms = stored.float().mul_(self.scale)
            return F.pad(waveforms, (0, (length or size) - size))
        waveforms = torch.empty(count, length or size)
        scale = np.float32(self.scale)
        moves = [0] * count if shifts is None else shifts.tolist()
        for place, row, shift in zip(waveforms.numpy(), self.rows.tolist(), moves, strict=True):
            stored_clip, clip = self.samples[row], place[:size]
            clip[shift:] = stored_clip[: size - shift]
            clip[:shift] = stored_clip[size - shift :]
            if scale != 1:
                clip *= scale  # in the cache, before the next clip
            place[size:] = 0
        return waveforms

    def _stored(self) -> Tensor:
        """The clips' samples as they are stored, on the device."""
        if self.gpu_cache is not None:
            return self.gpu_cache.take(self.rows)
        shape = len(self.rows), self.samples.shape[1]
        dtype = torch.from_numpy(np.empty(0, self.samples.dtype)).dtype
        # A copy from pinned memory overlaps with the GPU's work.
        stored = torch.empty(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        np.take(self.samples, self.rows, axis=0, out=stored.numpy(), mode="clip")
        return stored.to(self.device, non_blocking=True)


class Batch(NamedTuple):
    """Clips that are computed together."""

    clips: Clips
    labels: Tensor  # (B,) int64
    eligible_for_dir: Tensor  # (B,) bool, stays on the CPU where DIR is drawn
    template_logits: Tensor  # (B, C) float32; C is 0 where there are none

    def to(self, device: torch.device) -> "Batch":
        """The batch with everything but ``eligible_for_dir`` on ``device``."""
        return Batch(
            replace(self.clips, device=device),
            send(self.labels, device),
            self.eligible_for_dir,
            send(self.template_logits, device),
        )


class ClipBatches:
    """Iterable over batches of a fixed list of clips, shuffled anew by ``generator`` if given.

    Args:
        samples: (n, samples) array of all clips, int16 or float32, usually a read-only memory map.
        scale: factor to full scale 1.
        rows: (N,) rows of ``samples``. ``labels`` (N,), ``eligible_for_dir`` (N,) and
            ``template_logits`` (N, C) belong to them.
        gpu_cache: serves the clips whenever it is filled.
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
        gpu_cache: GpuClipCache | None = None,
    ) -> None:
        n = len(rows)
        self.samples = np.asarray(samples)  # slicing a memmap costs more
        self.scale = scale
        self.rows = rows
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.batch_size = batch_size
        self.generator = generator
        self.gpu_cache = gpu_cache
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
            cache = self.gpu_cache if self.gpu_cache is not None and self.gpu_cache.filled else None
            yield Batch(
                Clips(self.samples, self.scale, self.rows[chosen.numpy()], gpu_cache=cache),
                self.labels[chosen],
                self.eligible_for_dir[chosen],
                self.template_logits[chosen],
            )
