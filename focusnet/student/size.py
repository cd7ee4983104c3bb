"""Measures what a network costs, in the terms of the limits of DCASE Task 1."""

from typing import Literal, NamedTuple

import torchinfo
from torch import nn

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


class Complexity(NamedTuple):
    """The size of a network."""

    parameters: int
    macs: int  # multiply-accumulate operations for one input


def complexity(network: nn.Module, input_shape: tuple[int, ...]) -> Complexity:
    """Parameters and multiply-accumulates of ``network``, as torchinfo counts them.

    The running statistics of batch norm are no parameters, as in the rules of DCASE Task 1.

    Args:
        input_shape: of one input, batch dimension included: (1, 1, n_mels, frames).
    """
    # Without the device torchinfo would move a network on the CPU to a GPU.
    device = next(network.parameters()).device
    found = torchinfo.summary(network, input_shape, device=device, mode="eval", verbose=0)
    return Complexity(found.total_params, found.total_mult_adds)


def size_in_bytes(network: nn.Module, precision: Literal["fp32", "bf16", "fp16"]) -> int:
    """Bytes of the parameters in a precision."""
    return _BYTES[precision] * sum(value.numel() for value in network.parameters())
