"""Plans at which p-value each of several looks at a growing study may claim something.

Testing at 5 % at every look would claim something false in far more than 5 % of the studies. The
levels spend 5 % over the looks: little at first, most at the end (O'Brien and Fleming's shape, by
the spending function of Lan and DeMets, Biometrika 70, 1983), but never less than 0.0003 at a look
(after Haybittle and Peto: what is that clear is believed at once).
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

FLOOR = 0.0003
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)  # of the test statistic's density


@cache
def look_levels(
    information: tuple[float, ...], alpha: float = 0.05, taken: tuple[float, ...] = ()
) -> tuple[float, ...]:
    """Two-sided p-values at which each look claims.

    Args:
        information: of each look as a share of the last one's, increasing up to 1, such as the
            number of seeds divided by the final number.
        alpha: probability of a false claim at any look.
        taken: levels of the first looks if these have been taken by another plan. What they have
            spent is gone: a look for which nothing is left has level 0, and cannot claim.

    Raises:
        ValueError: shares that do not increase to 1.
    """
    if not information or information[-1] != 1 or not _increases((0.0, *information)):
        raise ValueError(f"must increase from above 0 to 1, received {list(information)}")
    levels = list(taken)
    for place, share in list(enumerate(information))[len(taken) :]:
        allowed = 2 * special.ndtr(special.ndtri(alpha / 2) / np.sqrt(share))

        def excess(level: float, looks: int = place + 1, allowed: float = allowed) -> float:
            return _crossing(information[:looks], [*levels, level]) - allowed

        least = min(FLOOR, alpha)
        if taken and excess(least) >= 0:
            levels.append(0.0)
        elif excess(least) >= 0:
            levels.append(least)
        else:
            levels.append(optimize.brentq(excess, least, 2 * alpha))
    return tuple(levels)


def spent(information: Sequence[float], levels: Sequence[float]) -> float:
    """Probability that looks which have been taken at these levels claim without an effect."""
    return _crossing(information, levels) if information else 0.0


def _increases(values: Sequence[float]) -> bool:
    return all(one < next_one for one, next_one in pairwise(values))


def _crossing(information: Sequence[float], levels: Sequence[float]) -> float:
    """Probability, without an effect, that one of the looks claims.

    The statistic is a Brownian motion observed at the looks; its density inside the limits is
    carried from look to look (Armitage, McPherson and Rowe, JRSS A 132, 1969).
    """
    reach = 0.0
    grid: NDArray[np.float64] = np.zeros(1)
    mass: NDArray[np.float64] = np.ones(1)
    before = 0.0
    for share, level in zip(information, levels, strict=True):
        limit = -special.ndtri(max(level, 1e-15) / 2) * np.sqrt(share)
        spread = np.sqrt(share - before)
        outside = special.ndtr((-limit - grid) / spread) + special.ndtr((grid - limit) / spread)
        reach += float(mass @ outside)
        following, weights = limit * _NODES, limit * _WEIGHTS
        density = np.exp(-(((following[:, None] - grid) / spread) ** 2) / 2)
        mass = weights * (density @ mass) / (spread * np.sqrt(2 * np.pi))
        grid, before = following, share
    return reach
