"""Picks the device that a trial computes on, and copies tensors to it."""

import torch
from torch import Tensor

from focusnet.errors import ConfigError


def pick_device(setting: str) -> torch.device:
    """The device of ``compute.device``; 'auto' takes a GPU where there is one.

    Raises:
        ConfigError: ``setting`` is 'cuda' and there is no GPU.
    """
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none here")
    return torch.device("cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu")


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, without waiting for a GPU.

    A copy from ordinary memory blocks the CPU until the GPU catches up, and the GPU then waits for
    the CPU. A copy from pinned memory, which torch keeps until it is read, is asynchronous.
    """
    if device.type != "cuda" or tensor.is_cuda or tensor.numel() == 0:
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)
