"""Copies to a GPU that nothing waits for.

A step draws its random decisions on the CPU and sends them over. Each copy from ordinary memory
would hold the CPU until the GPU has come that far, and the GPU would then wait for the CPU.
"""

import torch
from torch import Tensor

from focusnet.errors import ConfigError


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; to a GPU from pinned memory, which torch keeps until it is read."""
    if device.type != "cuda" or tensor.is_cuda or tensor.numel() == 0:
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)


def pick_device(setting: str) -> torch.device:
    """The device of ``compute.device``; 'auto' takes a GPU where there is one."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none here")
    return torch.device("cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu")
