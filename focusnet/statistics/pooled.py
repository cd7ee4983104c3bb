"""Estimates the effect of one arm against another, averaged over strata, with its uncertainty.

A confirmation is cross-fitted over the two halves of the test locations: the winner that was chosen
on one half is judged on the other. Seeds 0, 2, ... of a stratum are judged on half 0, the others on
half 1, so that every test location is used and none by who was chosen on it. Studies that judge on
one half alone (adaptive searches) go by the same formulas with one half.

Everything works on arrays of any number of studies at once; the calibration runs these very
functions. Equations and how often they err: docs/statistics.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Halves = Sequence[NDArray[np.integer]]
FEWEST_SEEDS = 3  # of a stratum: with one a half the noise of trainings cannot be seen


class Effect(NamedTuple):
    """An effect and the two parts of its variance, each (studies,), in points.

    Attributes:
        estimate: the effect.
        seed_variance, seed_df: variance from trainings and its degrees of freedom.
        location_variance, location_df: variance from the choice of test locations, likewise.
    """

    estimate: Floats
    seed_variance: Floats
    seed_df: Floats
    location_variance: Floats
    location_df: Floats

    def critical_value(self, alpha: float | Floats, *, locations: bool = True) -> Floats:
        """Standard errors that a two-sided test at ``alpha`` asks for.

        Student's quantiles of seeds and of locations, weighted by their variances (Cochran and
        Cox, Experimental Designs, 1957, section 4.14).
        """
        of_seeds = special.stdtrit(self.seed_df, 1 - np.asarray(alpha) / 2)
        if not locations:
            return of_seeds
        of_locations = special.stdtrit(self.location_df, 1 - np.asarray(alpha) / 2)
        variance = self.seed_variance + self.location_variance
        with np.errstate(invalid="ignore"):
            mixed = self.seed_variance * of_seeds + self.location_variance * of_locations
            return np.where(variance > 0, mixed / variance, of_seeds)

    def standard_error(self, *, locations: bool = True) -> Floats:
        """For new locations; without ``locations`` for the test locations at hand."""
        return np.sqrt(self.seed_variance + (self.location_variance if locations else 0.0))

    def interval(self, level: float = 0.95, *, locations: bool = True) -> tuple[Floats, Floats]:
        """Ends of the interval for new locations, or for those at hand."""
        reach = self.critical_value(1 - level, locations=locations)
        reach = reach * self.standard_error(locations=locations)
        return self.estimate - reach, self.estimate + reach

    def p_value(self, *, locations: bool = True) -> Floats:
        """The alpha at which the interval touches 0: they agree by construction."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(self.estimate) / self.standard_error(locations=locations)
        low, high = np.zeros_like(ratio), np.ones_like(ratio)
        for _ in range(60):  # bisection of a decreasing function, to full precision
            middle = (low + high) / 2
            inside = self.critical_value(middle, locations=locations) > ratio
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return np.where(np.isnan(ratio), np.nan, (low + high) / 2)


@dataclass(frozen=True)
class _Part:
    """What one stratum adds: effect, variance of its seeds, and its locations' deviations."""

    effect: Floats  # (studies,)
    seed_variance: Floats  # (studies,) of the effect
    seed_df: int
    deviations: Floats  # (studies, locations) what each location adds to the effect
    residual: Floats  # (studies,) noise of single trainings in their squares


def pooled_effect(
    arm: Sequence[NDArray[np.floating]],
    against: Sequence[NDArray[np.floating]],
    scene: NDArray[np.integer],
    half: NDArray[np.integer],
    clips: NDArray[np.integer],
    judged_on: Halves | None = None,
) -> tuple[Effect, list[Effect]]:
    """Effect of ``arm`` against ``against``, on average over strata and in each stratum.

    Args:
        arm, against: one array a stratum, (studies, seeds, locations): accuracy in points of each
            training at each location. Of each seed only the locations of its half are used.
        scene, half, clips: (locations,) scene, half (0 or 1) and number of clips.
        judged_on: for each stratum, (seeds,) the half of each seed; by default ``r % 2`` of seed r.
            Where all seeds of all strata have the same half, the study has that half alone.

    Raises:
        ValueError: a stratum has too few seeds (three; two where there is one half), or no seed
            for one of the halves.
    """
    parts, design = _parts(arm, against, scene, half, clips, judged_on)
    count = len(parts)
    return (
        _contrast(parts, np.full(count, 1 / count), design),
        [_contrast([part], np.ones(1), design) for part in parts],
    )


def trend(
    arm: Sequence[NDArray[np.floating]],
    against: Sequence[NDArray[np.floating]],
    scene: NDArray[np.integer],
    half: NDArray[np.integer],
    clips: NDArray[np.integer],
    position: Sequence[float],
    judged_on: Halves | None = None,
) -> Effect:
    """Slope of the strata's effects over ``position``, such as the logarithm of the data's share.

    The other arguments and the errors are those of ``pooled_effect``.
    """
    parts, design = _parts(arm, against, scene, half, clips, judged_on)
    centred = np.asarray(position, dtype=np.float64) - np.mean(position)
    return _contrast(parts, centred / (centred**2).sum(), design)


def _parts(
    arm: Sequence[NDArray[np.floating]],
    against: Sequence[NDArray[np.floating]],
    scene: NDArray[np.integer],
    half: NDArray[np.integer],
    clips: NDArray[np.integer],
    judged_on: Halves | None,
) -> tuple[list["_Part"], "_Design"]:
    if judged_on is None:
        judged_on = [np.arange(np.shape(one)[1]) % 2 for one in arm]
    used = np.unique(np.concatenate(judged_on))
    here = np.isin(half, used)
    # Locations of a half that no seed is judged on are left out.
    design = _Design(np.asarray(scene)[here], np.asarray(half)[here], np.asarray(clips)[here])
    return [
        _part((np.asarray(one, float) - np.asarray(other, float))[..., here], own, used, design)
        for one, other, own in zip(arm, against, judged_on, strict=True)
    ], design


class _Design:
    """Weights that follow from scenes, halves and clips."""

    def __init__(
        self, scene: NDArray[np.integer], half: NDArray[np.integer], clips: NDArray[np.integer]
    ) -> None:
        self.half = half
        # A scene in a half is a group: its locations are compared with each other.
        _, self.group = np.unique(np.stack([half, scene]), axis=1, return_inverse=True)
        self.share = clips / np.bincount(self.group, clips)[self.group]  # of the group's clips
        scenes = np.array([len(np.unique(scene[half == h])) for h in (0, 1)])
        # Of a location in the macro accuracy: the mean over scenes, then over halves.
        self.weight = self.share / scenes[half] / len(np.unique(half))
        self.alone = np.bincount(self.group)[self.group] == 1
        with np.errstate(divide="ignore"):
            self.scale = np.where(self.alone, 0.0, self.weight / np.sqrt(1 - self.share))

    def deviations(self, accuracy: Floats) -> Floats:
        """(..., locations) less the mean of the location's scene in its half."""
        groups = np.eye(self.group.max() + 1)[self.group]
        means = (accuracy * self.share) @ groups
        return accuracy - means[..., self.group]

    def location_variance(self, deviations: Floats, residual: Floats) -> tuple[Floats, Floats]:
        """Variance of an effect from its locations, and its degrees of freedom."""
        squares = np.maximum((deviations**2).sum(axis=-1) - residual, 0.0)
        # A scene with a single location gets the others' variance per location.
        spread = self.weight**2
        seen = spread[~self.alone].sum()
        if not seen:
            unknown = np.full_like(squares, np.nan)
            return unknown, unknown
        variance = squares * spread.sum() / seen
        own = spread[~self.alone]
        df = own.sum() ** 2 / (own**2 / (1 - self.share[~self.alone])).sum()
        return variance, np.full_like(variance, df)


def _part(
    difference: Floats, judged_on: NDArray[np.integer], halves: NDArray[np.integer], design: _Design
) -> _Part:
    studies, seeds, locations = difference.shape
    fewest = FEWEST_SEEDS if len(halves) > 1 else FEWEST_SEEDS - 1
    if seeds < fewest:
        raise ValueError(f"a stratum needs at least {fewest} seeds, received {seeds}")
    effect, squares = np.zeros(studies), np.zeros(studies)
    precision = 0.0
    deviations, residual = np.zeros((studies, locations)), np.zeros(studies)
    for half in halves:
        here = design.half == half
        own = np.where(here, difference[:, judged_on == half], 0.0)
        count = own.shape[1]
        if not count:
            raise ValueError(f"a stratum has no seed that is judged on half {half}")
        macro = own @ np.where(here, design.weight, 0.0)  # (studies, seeds of the half), weighted
        effect += macro.mean(axis=1)
        squares += ((macro - macro.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        precision += 1 / count
        scaled = design.deviations(own) * np.where(here, design.scale, 0.0)
        deviations += scaled.mean(axis=1)
        if count > 1:
            residual += scaled.var(axis=1, ddof=1).sum(axis=-1) / count
    df = seeds - len(halves)
    return _Part(effect, squares / df * precision, df, deviations, residual)


def _contrast(parts: Sequence[_Part], weights: Floats, design: _Design) -> Effect:
    """The weighted sum of the strata's effects.

    Strata share their test locations, so what a location adds is summed over strata before it is
    squared. They do not share trainings, so the variances of these add up.
    """
    variances = np.stack(
        [w**2 * part.seed_variance for w, part in zip(weights, parts, strict=True)]
    )
    dfs = np.array([part.seed_df for part in parts])[:, None]
    seed_variance = variances.sum(axis=0)
    with np.errstate(invalid="ignore"):
        seed_df = seed_variance**2 / (variances**2 / dfs).sum(axis=0)  # Satterthwaite
    location_variance, location_df = design.location_variance(
        np.tensordot(weights, np.stack([part.deviations for part in parts]), axes=1),
        np.tensordot(weights**2, np.stack([part.residual for part in parts]), axes=1),
    )
    return Effect(
        estimate=np.tensordot(weights, np.stack([part.effect for part in parts]), axes=1),
        seed_variance=seed_variance,
        seed_df=np.where(np.isnan(seed_df), dfs.sum(), seed_df),
        location_variance=location_variance,
        location_df=location_df,
    )
