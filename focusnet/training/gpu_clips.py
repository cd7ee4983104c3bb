"""Keeps a trial's audio in GPU memory where there is room, so that no batch comes from the host.

Batches are gathered from it by index. How much memory the network needs is known after one epoch;
what it leaves of the trial's share of the GPU is the room.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focusnet.system.device import send
from focusnet.training.gpu_memory import CONTEXT

_SHARE_OF_ROOM = 0.9  # not every batch needs the same memory
_CLIPS_AT_A_TIME = 512


class GpuClipCache:
    """Copies of a trial's clips on its device; empty until it is filled.

    Args:
        samples: (n, samples) array of all clips, int16 or float32.
        rows: those to keep, in any order, also several times.
        device: where to keep them.
        gpu_share: see ``has_room``.
    """

    def __init__(
        self,
        samples: NDArray[np.generic],
        rows: NDArray[np.int64],
        device: torch.device,
        gpu_share: float = 1.0,
    ) -> None:
        self._host_samples, self._rows = samples, np.unique(rows)
        self._device, self._gpu_share = device, gpu_share
        self._samples: Tensor | None = None

    @property
    def filled(self) -> bool:
        """Whether the clips are on the device."""
        return self._samples is not None

    @property
    def size(self) -> int:
        """Bytes that the clips take on the device."""
        return len(self._rows) * self._host_samples[0].nbytes

    def fill_if_room(self) -> None:
        """Copy the clips to a GPU if they fit beside a network that has trained for an epoch."""
        if not self.filled and self._has_room():
            self.fill()

    def fill(self) -> None:
        """Copy the clips to the device."""
        host, length = self._host_samples, self._host_samples.shape[1]
        dtype = torch.from_numpy(np.empty(0, host.dtype)).dtype
        copies = torch.empty(len(self._rows), length, dtype=dtype, device=self._device)
        pinned = self._device.type == "cuda"
        buffer = torch.empty(_CLIPS_AT_A_TIME, length, dtype=dtype, pin_memory=pinned)
        for start in range(0, len(self._rows), _CLIPS_AT_A_TIME):
            chosen = self._rows[start : start + _CLIPS_AT_A_TIME]
            part = buffer[: len(chosen)]
            np.take(host, chosen, axis=0, out=part.numpy(), mode="clip")
            copies[start : start + len(chosen)].copy_(part)  # waits, as the buffer is filled again
        self._samples = copies

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """Samples of clips as they are stored, (K, samples); all ``rows`` must be kept here."""
        assert self._samples is not None
        places = torch.from_numpy(np.searchsorted(self._rows, rows))
        return self._samples.index_select(0, send(places, self._device))

    def release(self) -> None:
        """Free the memory: the next stage may need more for itself."""
        self._samples = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)

    def _has_room(self) -> bool:
        if self._device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(self._device)
        reserved = torch.cuda.max_memory_reserved(self._device)
        return has_room(
            self.size, free=free, total=total, reserved=reserved, gpu_share=self._gpu_share
        )


def has_room(needed: int, *, free: int, total: int, reserved: int, gpu_share: float) -> bool:
    """Whether ``needed`` bytes fit beside the network.

    Args:
        free, total: bytes of the GPU.
        reserved: the most that torch has reserved for this process; it may need all of it again.
        gpu_share: fraction of the GPU that is this trial's; the rest belongs to others.
    """
    return needed <= _SHARE_OF_ROOM * min(free, gpu_share * total - CONTEXT - reserved)
