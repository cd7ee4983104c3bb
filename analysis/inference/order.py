"""Applies the fixed order of comparisons: a later one is claimed only if all earlier ones are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from focusnet.statistics.pooled import Effect
from focusnet.statistics.verdict import MARGIN, verdicts

NOT_CLAIMED = "not claimed"  # an earlier comparison is not a gain


def ordered_verdicts(
    steps: Sequence[Sequence[Effect]], alpha: float, margin: float = MARGIN
) -> list[list[NDArray[np.str_]]]:
    """Verdicts on the effects of each step, each (studies,).

    Each step is tested at ``alpha``, for it is only reached if all before it are gains. All arms of
    a step must be beaten, so that its p-value is the largest of theirs.
    """
    is_open: NDArray[np.bool_] | bool = True
    found = []
    for step in steps:
        p = np.max([effect.p_value() for effect in step], axis=0)
        own = [
            np.where(is_open, verdicts(effect, p, alpha, margin), NOT_CLAIMED) for effect in step
        ]
        is_open = is_open & np.all([one == "gain" for one in own], axis=0)
        found.append(own)
    return found
