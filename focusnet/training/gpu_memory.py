"""How much memory of a GPU the training of PaSST needs; without torch on import.

Measured on an H100 with PaSST-S at 44.1 kHz (80 tokens) in batches of 64 to 256: torch reserves
26.7 MB a clip in bf16 and 46.4 MB in fp32, beside weights, gradients, Adam's moments and 0.2 GB;
CUDA itself takes 0.8 GB.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from focusnet.config import TrialConfig
from focusnet.network_sizes import PATCH, SIZES, parameter_count

if TYPE_CHECKING:
    import torch

CONTEXT = 820_000_000  # bytes: CUDA's context and libraries, beside what torch reserves
_BYTES_PER_WEIGHT = 16  # the weight, its gradient and Adam's two moments, in fp32
_WORKSPACE = 200_000_000  # bytes
_BYTES_PER_ACTIVATION = {"fp32": 62, "tf32": 62}  # for a token, channel and block
_HALF = 36  # the same in half precision
_USABLE = 0.9  # share of free memory that is advised to be filled


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of a GPU that the training of a network takes."""

    fixed: int  # whatever the batch
    per_clip: int
    batch_size: int
    micro_batch: int | None

    @property
    def clips(self) -> int:
        """Clips that are computed at a time."""
        return min(self.batch_size, self.micro_batch or self.batch_size)

    @property
    def total(self) -> int:
        return self.fixed + self.per_clip * self.clips

    def clips_that_fit(self, available: float) -> int:
        """Clips at a time for which ``available`` bytes are enough; 0 if none."""
        return max(0, int((available - self.fixed) // self.per_clip))


def training_memory(trial: TrialConfig, frames: int, n_classes: int) -> TrainingMemory:
    """Of the template or the second stage of ``trial``, whichever has the larger batches.

    Args:
        frames: of a clip's spectrogram.
        n_classes: of the data set.
    """
    model, n_mels = trial.model, trial.features.n_mels
    size = SIZES[model.size]
    stride = model.stride or size.stride
    weights = parameter_count(model.size, model.stride, model.max_frames, n_mels, n_classes)
    rows, columns = (
        (length - PATCH) // stride + 1 - drop
        for length, drop in (
            (n_mels, trial.augment.patchout_freq),
            (frames, trial.augment.patchout_time),
        )
    )
    activations = (rows * columns + 2) * size.embedding * size.depth
    bytes_each = _BYTES_PER_ACTIVATION.get(trial.compute.precision, _HALF)
    return TrainingMemory(
        fixed=CONTEXT + _WORKSPACE + weights * _BYTES_PER_WEIGHT,
        per_clip=activations * bytes_each,
        batch_size=max(trial.template.batch_size, trial.focus.batch_size or 0),
        micro_batch=trial.compute.micro_batch,
    )


def too_little_memory(needed: TrainingMemory, *, total: int, others: int, gpu_share: float) -> str:
    """What a user reads when a GPU's memory was not enough.

    Args:
        total: bytes that the GPU has.
        others: bytes of it that other processes use.
        gpu_share: fraction of the GPU that is the trial's.
    """
    own = gpu_share * total
    parts = [
        f"the GPU's memory is not enough: {needed.clips} clips at a time need about "
        f"{_gigabytes(needed.total)}, and "
        + (
            f"this trial's share ({gpu_share:g}) of the GPU's {_gigabytes(total)} is "
            f"{_gigabytes(own)}"
            if gpu_share < 1
            else f"the GPU has {_gigabytes(total)}"
        )
    ]
    available = min(own, total - others)
    if total - others < own:
        parts.append(f"others use {_gigabytes(others)} of it")
    most = needed.clips_that_fit(_USABLE * available)
    fit = 1 << (most.bit_length() - 1) if most else 0  # a power of two
    if 0 < fit < needed.clips:
        parts.append(f"compute.micro_batch: {fit} fits and gives equal results up to rounding")
    if gpu_share < 1:
        parts.append("so may a larger resources.gpu")
    elif needed.total <= _USABLE * total:
        parts.append("end what else runs on the GPU")
    return "; ".join(parts)


def memory_of_gpu(device: "torch.device") -> tuple[int, int]:
    """Bytes that a GPU has, and bytes of it that other processes use."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return total, max(0, total - free - torch.cuda.memory_reserved(device) - CONTEXT)


def share_gpu(device: "torch.device", share: float) -> None:
    """Let this process reserve no more than its share of a GPU, so that it disturbs no neighbour.

    CUDA's context and libraries come out of the share as well.
    """
    import torch

    if device.type != "cuda" or share >= 1:
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(max(0.01, share - CONTEXT / total), device)


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
