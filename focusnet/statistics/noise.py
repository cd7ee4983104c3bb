"""Measures the noise of a study: what trainings, locations, and both together add to an effect.

All of it is in points and as it is observed: a training's standard deviation includes what luck at
single locations adds to it, so that it can be put into ``s_k`` of docs/statistics.md as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from focusnet.statistics.pooled import Floats, Halves, pooled_effect


@dataclass(frozen=True)
class Noise:
    """Components of the noise of one arm against another, in points.

    Attributes:
        difference_sd: of each stratum, the standard deviation over seeds of the effect of one pair
            of trainings on its half of the locations (``s_k``).
        training_sd: of each stratum, that of the macro accuracy of one training of either arm.
        pooled_difference_sd, pooled_training_sd: the same over all strata.
        location_sd: standard deviation between locations of what a location adds to the average
            effect in every training (its accuracy less its scene's).
        location_variance: variance that it adds to the average effect, with the study's own
            locations. More seeds do not reduce it.
        cell_sd: standard deviation of a single pair of trainings at a single location around what
            the location adds persistently; part of ``difference_sd``.
        seeds: of each stratum.
    """

    difference_sd: tuple[float, ...]
    training_sd: tuple[float, ...]
    pooled_difference_sd: float
    pooled_training_sd: float
    location_sd: float
    location_variance: float
    cell_sd: float
    seeds: tuple[int, ...]

    def effect_sd(self, seeds: Sequence[Sequence[int]]) -> float:
        """Standard deviation of the average effect of a study with this noise, for new locations.

        Args:
            seeds: for each stratum, the number of seeds judged on each half. A plan with other
                strata than this study's gets the pooled noise of trainings.
        """
        pooled = [self.pooled_difference_sd] * len(seeds)
        own = self.difference_sd if len(self.difference_sd) == len(seeds) else pooled
        of_seeds = sum(
            sd**2 * sum(1 / count for count in counts) / len(counts) ** 2
            for sd, counts in zip(own, seeds, strict=True)
        )
        return float(np.sqrt(of_seeds / len(seeds) ** 2 + self.location_variance))


def noise_components(
    arm: Sequence[NDArray[np.floating]],
    against: Sequence[NDArray[np.floating]],
    scene: NDArray[np.integer],
    half: NDArray[np.integer],
    clips: NDArray[np.integer],
    judged_on: Halves | None = None,
) -> Noise:
    """The noise of one study; the arguments and errors are those of ``pooled.pooled_effect``.

    Arrays may be of several studies, whose variances are averaged.
    """
    average, _ = pooled_effect(arm, against, scene, half, clips, judged_on)
    if judged_on is None:
        judged_on = [np.arange(np.shape(one)[1]) % 2 for one in arm]
    weight, share = _weights(scene, half, clips)
    here = np.isin(half, np.unique(np.concatenate(judged_on)))
    pairs = [np.asarray(a, float) - np.asarray(b, float) for a, b in zip(arm, against, strict=True)]
    design = (weight, half)
    of_pairs = [
        _training_variance(x, own, *design) for x, own in zip(pairs, judged_on, strict=True)
    ]
    of_arms = [
        (_training_variance(np.asarray(a, float), own, *design)
         + _training_variance(np.asarray(b, float), own, *design)) / 2
        for a, b, own in zip(arm, against, judged_on, strict=True)
    ]  # fmt: skip
    df = np.array([len(own) - len(np.unique(own)) for own in judged_on])
    halves = len(np.unique(half[here]))
    spread = ((weight[here] / halves) ** 2).sum()
    location_variance = float(np.mean(average.location_variance))
    cells = [
        _cell_variance(x, own, scene, half, share) for x, own in zip(pairs, judged_on, strict=True)
    ]
    return Noise(
        difference_sd=tuple(float(v**0.5) for v in of_pairs),
        training_sd=tuple(float(v**0.5) for v in of_arms),
        pooled_difference_sd=float(np.sqrt(df @ of_pairs / df.sum())),
        pooled_training_sd=float(np.sqrt(df @ of_arms / df.sum())),
        location_sd=float(np.sqrt(location_variance / spread)),
        location_variance=location_variance,
        cell_sd=float(np.sqrt(np.nanmean(cells))),
        seeds=tuple(len(own) for own in judged_on),
    )


def _weights(
    scene: NDArray[np.integer], half: NDArray[np.integer], clips: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Of each location, in the macro accuracy of its half, and among its scene's clips in it."""
    weight, share = np.zeros(len(scene)), np.zeros(len(scene))
    for h in np.unique(half):
        scenes = np.unique(scene[half == h])
        for s in scenes:
            own = (half == h) & (scene == s)
            share[own] = clips[own] / clips[own].sum()
            weight[own] = share[own] / len(scenes)
    return weight, share


def _training_variance(
    values: Floats, judged_on: NDArray[np.integer], weight: Floats, half: NDArray[np.integer]
) -> float:
    """Variance over seeds within the halves, pooled over them."""
    squares, df = 0.0, 0
    for h in np.unique(judged_on):
        macro = values[:, judged_on == h][..., half == h] @ weight[half == h]
        squares += float(((macro - macro.mean(axis=1, keepdims=True)) ** 2).sum(axis=1).mean())
        df += macro.shape[1] - 1
    return squares / df


def _cell_variance(
    values: Floats,
    judged_on: NDArray[np.integer],
    scene: NDArray[np.integer],
    half: NDArray[np.integer],
    share: Floats,
) -> float:
    """Variance over seeds of a location's deviation from its scene; NaN where none can be seen."""
    found = []
    for h in np.unique(judged_on):
        own = values[:, judged_on == h]
        if own.shape[1] < 2:
            continue
        for s in np.unique(scene[half == h]):
            here = (half == h) & (scene == s)
            if here.sum() < 2:
                continue
            part = own[..., here]
            deviation = part - (part @ share[here])[..., None]
            # Subtracting the scene's mean takes a share of a location's own variance away.
            found.append(deviation.var(axis=1, ddof=1) / (1 - share[here]))
    return float(np.mean(np.concatenate(found, axis=-1))) if found else float("nan")
