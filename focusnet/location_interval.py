"""How far the choice of test locations leaves an accuracy open.

Clips of one location sound alike and are not independent, so whole locations are drawn again.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RESAMPLES = 2000


def macro_accuracy_interval(
    right: pd.DataFrame, values: str, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over scenes of the column ``values``, and the ends of its interval, as fractions.

    Of a scene's L locations L - 1 are drawn with replacement, which makes the variance of the
    resamples unbiased (Rao and Wu, JASA 83, 1988); the interval is the percentile interval.

    Args:
        right: one row a clip, with ``scene``, ``location`` and ``values``: 1 where a prediction is
            right and 0 where not, or the difference of two such.
    """
    generator = np.random.default_rng(seed)
    estimate, resampled = 0.0, np.zeros(RESAMPLES)
    scenes = list(right.groupby("scene"))
    for _, clips in scenes:
        sums = clips.groupby("location")[values].agg(["sum", "size"]).to_numpy(np.float64)
        estimate += sums[:, 0].sum() / sums[:, 1].sum() / len(scenes)
        drawn = _draw(generator, len(sums)) @ sums
        resampled += drawn[:, 0] / drawn[:, 1] / len(scenes)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(estimate), float(low), float(high)


def _draw(generator: np.random.Generator, locations: int) -> NDArray[np.int64]:
    """How often each location is in each resample, (RESAMPLES, locations)."""
    if locations == 1:
        return np.ones((RESAMPLES, 1), dtype=np.int64)
    return generator.multinomial(locations - 1, np.full(locations, 1 / locations), RESAMPLES)
