"""Copies to a GPU that nothing waits for.

A step draws its random decisions on the CPU and sends them over. Each copy from ordinary memory
would hold the CPU until the GPU has come that far, and the GPU would then wait for the CPU.
"""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; to a GPU from pinned memory, which torch keeps until it is read."""
    if device.type != "cuda" or tensor.is_cuda or tensor.numel() == 0:
        return tensor.to(device)
    return tensor.contiguous().pin_memory().to(device, non_blocking=True)
