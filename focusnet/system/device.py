"""Picks the device that a trial computes on, and copies tensors to it."""

import torch
from torch import Tensor

from focusnet.errors import ConfigError
from focusnet.system.gpu import gpu_problem


def pick_device(setting: str) -> torch.device:
    """The device of ``compute.device``; 'auto' takes a GPU where there is one.

    Raises:
        ConfigError: there is a GPU that cannot be used, or ``setting`` is 'cuda' and there is none.
    """
    if setting == "cpu":
        return torch.device("cpu")
    problem = gpu_problem()
    if problem is not None:
        raise ConfigError(
            f"compute.device: the GPU of this machine cannot be used: {problem}; mend that, or set "
            "compute.device: cpu"
        )
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none here")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, without waiting for a GPU.

    A copy from ordinary memory blocks the CPU until the GPU catches up, and the GPU then waits for
    the CPU. A copy from pinned memory, which torch keeps until it is read, is asynchronous.
    """
    if device.type != "cuda" or tensor.is_cuda or tensor.numel() == 0:
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)
