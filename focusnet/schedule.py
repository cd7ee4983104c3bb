"""Computes learning rate schedules: of the PaSST recipe on TAU22, and of the student's."""

import math
from collections.abc import Callable

import numpy as np


def warmup_linear_down(
    warmup: int, ramp_down_start: int, ramp_down_length: int, last_value: float
) -> Callable[[int], float]:
    """Learning rate factor by epoch: exponential warm-up, constant, linear ramp-down, constant.

    The schedule of the CP-JKU code base. The factor of epoch e (from 0) is the product of the
    warm-up ``exp(-5 (1 - clip(e, 0.5, warmup) / warmup)^2)`` of arXiv:1610.02242, while
    ``e < warmup``, and of a line from 1 at ``ramp_down_start`` to ``last_value`` at
    ``ramp_down_start + ramp_down_length``.

    Args:
        warmup, ramp_down_start, ramp_down_length: epochs.
        last_value: factor after the ramp-down.
    """

    def factor(epoch: int) -> float:
        up = 1.0
        if epoch < warmup:
            phase = 1.0 - min(max(epoch, 0.5), warmup) / warmup
            # NumPy's exponential, as in that code base: math.exp may differ in the last bit.
            up = float(np.exp(-5.0 * phase * phase))
        if epoch <= ramp_down_start:
            down = 1.0
        elif epoch - ramp_down_start < ramp_down_length:
            left = ramp_down_length - epoch + ramp_down_start
            down = last_value + (1.0 - last_value) * left / ramp_down_length
        else:
            down = last_value
        return up * down

    return factor


def warmup_cosine(warmup_steps: int, steps: int) -> Callable[[int], float]:
    """Learning rate factor by step: linear warm-up from 0 to 1, then half a cosine to 0.

    The schedule of the DCASE24 Task 1 baseline.

    Args:
        warmup_steps: of the warm-up, at most ``steps``.
        steps: of the training; beyond them the factor is 0.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        if step >= steps:
            return 0.0
        progress = (step - warmup_steps) / (steps - warmup_steps)
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor
