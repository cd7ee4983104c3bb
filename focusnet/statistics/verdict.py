"""Says what an effect's interval means: a gain, a loss, a small difference, or nothing yet."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from focusnet.statistics.pooled import Effect, Floats

Verdict = Literal["gain", "loss", "small", "no gain", "undecided"]
MARGIN = 1.0  # points; an effect that is smaller either way does not matter
SMALL_LEVEL = 0.90  # of the interval that must lie within the margin: two one-sided 5 % tests
AVERAGE_ALPHA = 0.04  # of the average of all strata, with a single look
STRATA_ALPHA, STRATA_ALPHA_ALONE = (
    0.05,
    0.01,
)  # of the strata, if the average claims; if it does not


def verdicts(effect: Effect, p: Floats, alpha: float, margin: float = MARGIN) -> NDArray[np.str_]:
    """The verdict on each study's effect.

    ``gain`` and ``loss`` are claims at ``alpha``; ``small`` says that the 90 % interval lies within
    the margin, ``no gain`` that it lies below the margin.

    Args:
        effect: (studies,) in points.
        p: (studies,) its p-value, adjusted where it is one of several tests.
    """
    low, high = effect.interval(SMALL_LEVEL)
    claimed = p <= alpha
    return np.select(
        [
            claimed & (effect.estimate > 0),
            claimed & (effect.estimate < 0),
            (low > -margin) & (high < margin),
            high < margin,
        ],
        ["gain", "loss", "small", "no gain"],
        "undecided",
    )


def study_verdicts(
    average: Effect, strata: Sequence[Effect], alpha: float = AVERAGE_ALPHA, margin: float = MARGIN
) -> tuple[NDArray[np.str_], list[NDArray[np.str_]]]:
    """Verdicts on the average and on each stratum.

    The strata come second: they are tested by Holm at 5 % where the average claims something, else
    at 1 %, so that opposite effects are found, too.
    """
    p_average = average.p_value()
    on_average = verdicts(average, p_average, alpha, margin)
    adjusted = holm(np.stack([stratum.p_value() for stratum in strata], axis=-1))
    own = []
    for place, stratum in enumerate(strata):
        p = adjusted[..., place]
        alone = verdicts(stratum, p, STRATA_ALPHA_ALONE, margin)
        after = verdicts(stratum, p, STRATA_ALPHA, margin)
        own.append(np.where(p_average <= alpha, after, alone))
    return on_average, own


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979).

    Args:
        p: (..., tests); NaN, a test that could not be made, stays NaN and counts for nothing.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN last
    tests = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    factors = np.maximum(tests - np.arange(p.shape[-1]), 1)
    ordered = np.take_along_axis(p, order, axis=-1) * factors
    adjusted = np.minimum(np.maximum.accumulate(ordered, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result
