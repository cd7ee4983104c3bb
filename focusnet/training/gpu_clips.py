"""The audio that a trial reads, in the memory of its GPU, where that leaves room for it.

Batches are then gathered on the GPU, by index, and none comes from the host. How much the network
needs is known after one epoch; what it leaves of the trial's part of the GPU is room.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from focusnet.system.device import send

CONTEXT = 700_000_000  # bytes: CUDA's context and libraries, beside what torch reserves
_SPARE = 0.9  # of the room, at most: not every batch needs the same memory
_CLIPS_AT_A_TIME = 512


class Resident:
    """Some rows of an array of clips, on a device.

    Args:
        samples: (n, samples) array of all clips, int16 or float32.
        rows: those to keep, in any order, also several times.
        device: where to keep them.
    """

    def __init__(
        self, samples: NDArray[np.generic], rows: NDArray[np.int64], device: torch.device
    ) -> None:
        self._rows = np.unique(rows)
        dtype = torch.from_numpy(np.empty(0, samples.dtype)).dtype
        length = samples.shape[1]
        self._samples = torch.empty(len(self._rows), length, dtype=dtype, device=device)
        part = torch.empty(_CLIPS_AT_A_TIME, length, dtype=dtype, pin_memory=device.type == "cuda")
        for start in range(0, len(self._rows), _CLIPS_AT_A_TIME):
            chosen = self._rows[start : start + _CLIPS_AT_A_TIME]
            filled = part[: len(chosen)]
            np.take(samples, chosen, axis=0, out=filled.numpy(), mode="clip")
            self._samples[start : start + len(chosen)].copy_(filled)  # waits: it is filled again

    def take(self, rows: NDArray[np.int64]) -> Tensor:
        """The samples of clips as they are stored, (K, samples); all ``rows`` must be kept here."""
        places = torch.from_numpy(np.searchsorted(self._rows, rows))
        return self._samples.index_select(0, send(places, self._samples.device))

    def release(self) -> None:
        """Give the memory back, whoever still refers to this; there is nothing to take any more."""
        self._samples = self._samples[:0].clone()


def bytes_of(samples: NDArray[np.generic], rows: NDArray[np.int64]) -> int:
    """What ``Resident`` takes."""
    return len(np.unique(rows)) * samples.shape[1] * samples.dtype.itemsize


def has_room(needed: int, *, free: int, total: int, reserved: int, gpu_share: float) -> bool:
    """Whether ``needed`` bytes fit beside the network.

    Args:
        free, total: bytes of the GPU.
        reserved: the most that torch has reserved for this process; all of it may come back.
        gpu_share: of the GPU, which is this trial's; the rest belongs to others.
    """
    return needed <= _SPARE * min(free, gpu_share * total - CONTEXT - reserved)


class Residence:
    """The clips of a trial through its stages: on its GPU as long as the stage at hand leaves room.

    Args:
        samples, rows, device: as of ``Resident``.
        gpu_share: see ``has_room``.
    """

    def __init__(
        self,
        samples: NDArray[np.generic],
        rows: NDArray[np.int64],
        device: torch.device,
        gpu_share: float,
    ) -> None:
        self.clips: Resident | None = None
        self._samples, self._rows = samples, rows
        self._device, self._gpu_share = device, gpu_share

    def settle(self) -> Resident | None:
        """Copy the clips if they fit, beside a network that has trained for an epoch."""
        if self.clips is None and self._fits():
            self.clips = Resident(self._samples, self._rows, self._device)
        return self.clips

    def release(self) -> None:
        """Give back what is kept: the next stage may need more for itself."""
        if self.clips is not None:
            self.clips.release()  # a trainer that has ended may still refer to it
            self.clips = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)

    def _fits(self) -> bool:
        if self._device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(self._device)
        return has_room(
            bytes_of(self._samples, self._rows),
            free=free,
            total=total,
            reserved=torch.cuda.max_memory_reserved(self._device),
            gpu_share=self._gpu_share,
        )
