"""Estimates how good each setting is in each stratum from all trials of a search together.

One trial's accuracy is as much luck as merit, so the best observed trial is a poor winner. A
Gaussian process fitted to the trials of all strata jointly shares what they say about neighbouring
settings and neighbouring strata. Its hyperparameters are averaged, not chosen: with 8 to 24 trials
a stratum no single value is certain.

Kernel: Matern 5/2 over the unit cube with one length scale, times
``exp(-|log share - log share'| / range)`` over strata; each stratum has a level of its own (a flat
prior), and the variance is integrated out (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, sections 2.7 and 5.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.float64]

LENGTHS = (0.2, 0.4, 0.8, 1.6)  # of the unit cube
STRATUM_RANGES = (1.0, 3.0, 10.0)  # of the logarithm of the share
SIGNAL_TO_NOISE = (0.0, 0.1, 0.3, 1.0, 3.0)  # ratio of variances


@dataclass(frozen=True)
class Surface:
    """Estimates for each candidate in each stratum.

    Attributes:
        mean: (strata, candidates) posterior mean of the metric.
        sd: (strata, candidates) posterior standard deviation, without the noise of a training.
        noise_sd: standard deviation of a single trial around the surface.
    """

    mean: Floats
    sd: Floats
    noise_sd: float


def fit_surface(
    points: Floats,
    stratum: Sequence[int],
    values: Floats,
    candidates: Floats,
    distance: Floats,
) -> Surface:
    """Fit the trials of all strata and estimate every candidate in every stratum.

    Args:
        points: (trials, dimensions) settings in the unit cube.
        stratum: of each trial, 0 to strata - 1; each stratum has a trial.
        values: (trials,) the metric.
        candidates: (candidates, dimensions).
        distance: (strata, strata) between strata, such as ``|log share - log share'|``.

    Raises:
        ValueError: no more trials than strata, which leaves nothing to estimate the noise from.
    """
    points, values = np.asarray(points, float), np.asarray(values, float)
    of = np.asarray(stratum, dtype=np.int64)
    levels = np.eye(len(distance))[of]
    if len(values) <= len(distance):
        raise ValueError(f"{len(values)} trials in {len(distance)} strata are too few for a fit")
    shift, scale = values.mean(), values.std() or 1.0
    scaled = (values - shift) / scale
    fits = [
        _fit(points, of, levels, scaled, candidates, distance, *hyperparameters)
        for hyperparameters in product(LENGTHS, STRATUM_RANGES, SIGNAL_TO_NOISE)
    ]
    evidence = np.array([fit.log_evidence for fit in fits])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    means = np.stack([fit.mean for fit in fits])
    variances = np.stack([fit.variance for fit in fits])
    mean = np.tensordot(weights, means, axes=1)
    variance = np.tensordot(weights, variances + (means - mean) ** 2, axes=1)
    noise = float(weights @ np.array([fit.noise_variance for fit in fits]))
    return Surface(shift + scale * mean, scale * np.sqrt(variance), scale * noise**0.5)


@dataclass(frozen=True)
class _Fit:
    log_evidence: float
    mean: Floats
    variance: Floats
    noise_variance: float


def _fit(
    points: Floats,
    of: NDArray[np.int64],
    levels: Floats,
    values: Floats,
    candidates: Floats,
    distance: Floats,
    length: float,
    stratum_range: float,
    signal: float,
) -> _Fit:
    """One setting of the hyperparameters; covariances are in units of the noise variance."""
    between = np.exp(-distance / stratum_range)
    covariance = signal * _matern(points, points, length) * between[np.ix_(of, of)]
    factor = linalg.cholesky(covariance + np.eye(len(values)), lower=True)
    solve = lambda right: linalg.solve_triangular(factor, right, lower=True)  # noqa: E731
    white_levels, white_values = solve(levels), solve(values)
    gram = linalg.cholesky(white_levels.T @ white_levels, lower=True)
    level = linalg.cho_solve((gram, True), white_levels.T @ white_values)
    rest = white_values - white_levels @ level
    freedom = len(values) - levels.shape[1]
    noise_variance = max(float(rest @ rest), 1e-12) / freedom
    log_evidence = (
        -np.log(np.diag(factor)).sum()
        - np.log(np.diag(gram)).sum()
        - freedom / 2 * np.log(noise_variance)
    )
    mean = np.empty((len(distance), len(candidates)))
    variance = np.empty_like(mean)
    across = signal * _matern(points, candidates, length)
    for place in range(len(distance)):
        white = solve(across * between[of, place][:, None])
        mean[place] = level[place] + white.T @ rest
        # What the levels do not explain of a candidate's own level.
        unexplained = np.eye(len(distance))[place][:, None] - white_levels.T @ white
        extra = linalg.solve_triangular(gram, unexplained, lower=True)
        variance[place] = signal - (white**2).sum(axis=0) + (extra**2).sum(axis=0)
    return _Fit(float(log_evidence), mean, np.maximum(variance, 0) * noise_variance, noise_variance)


def _matern(one: Floats, other: Floats, length: float) -> Floats:
    """Matern 5/2 correlation of settings."""
    apart = np.sqrt(5 * ((one[:, None] - other[None]) ** 2).sum(axis=-1)) / length
    return (1 + apart + apart**2 / 3) * np.exp(-apart)
