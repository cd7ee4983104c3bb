"""Bootstrap interval of a macro accuracy over test locations.

Clips of one location sound alike and are not independent, so whole locations are resampled, those
of each scene on their own. The interval covers the choice of locations, not the noise of training.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000
SEED = 0  # of the resampling; fixed, so that the same predictions always give the same interval


def macro_accuracy_interval(
    clips: pd.DataFrame,
    column: str,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    generator: np.random.Generator | None = None,
) -> tuple[float, float, float]:
    """Mean over scenes of ``column`` and the ends of its percentile interval, as fractions.

    Args:
        clips: one row per clip, with ``scene``, ``location`` and ``column``: 1 where a prediction
            is right and 0 where it is wrong, or the difference of two such columns. A location
            counts with all of its clips.
        column: name of that column.
        resamples: number of bootstrap samples.
        level: share of the bootstrap samples inside the interval.
        generator: by default one with a fixed seed.
    """
    generator = np.random.default_rng(SEED) if generator is None else generator
    estimate, resampled = 0.0, np.zeros(resamples)
    by_location = clips.groupby(["scene", "location"], observed=True)[column]
    counts = by_location.agg(["sum", "size"]).astype(np.float64)
    scenes = [rows.to_numpy() for _, rows in counts.groupby(level="scene", observed=True)]
    for locations in scenes:
        right, total = locations.sum(axis=0)
        estimate += right / total / len(scenes)
        drawn = resample_counts(generator, len(locations), resamples) @ locations
        resampled += drawn[:, 0] / drawn[:, 1] / len(scenes)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(estimate), float(low), float(high)


def resample_counts(
    generator: np.random.Generator, units: int, resamples: int
) -> NDArray[np.int64]:
    """How often each of ``units`` (locations of a scene, seeds) is in each bootstrap sample.

    Of L units L - 1 are drawn with replacement. This makes the variance of the samples unbiased;
    drawing L would make it too small by (L - 1) / L (Rao and Wu, JASA 83, 1988).

    Returns:
        (resamples, units); a single unit is always drawn once.
    """
    if units == 1:
        return np.ones((resamples, 1), dtype=np.int64)
    return generator.multinomial(units - 1, np.full(units, 1 / units), size=resamples)
