"""Simulates studies whose true effect is known, to measure how often the statistics err.

A clip is right with probability Phi(eta). eta is the sum of the arm's level in the stratum, the
scene's difficulty, and noise of the training (seed) and of the location, of which a part is common
to all models, a part belongs to an arm, and a part to one training. All noise is normal unless a
world says otherwise, so the true effect is known exactly: the mean of Phi(z + N(0, v)) is
Phi(z / sqrt(1 + v)). Accuracies, effects and noise are in points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from focusnet.statistics.noise import noise_components
from focusnet.statistics.pooled import Floats

Tails = Literal["normal", "t3", "skewed"]
GRID = 64  # levels computed exactly; those between are interpolated


@dataclass(frozen=True)
class World:
    """Size and noise of studies.

    Attributes:
        name: of the data set, and of what is special.
        accuracies: of the template, one for each stratum.
        seeds: of each stratum.
        seed_sd: standard deviation of a training's macro accuracy over seeds, without what luck at
            single locations adds to it; what is observed is larger.
        noisy: factors of ``seed_sd``, one for each stratum; empty: none.
        arm_noise: factor of ``seed_sd`` for FocusNet.
        tails: distribution of the noise of trainings.
        locations: per scene and half, or one number for each scene in either half.
        clips: per location, on average.
        clips_sd: standard deviation of the logarithm of a location's number of clips.
        location_sd: standard deviation of eta between locations of a scene.
        arm_share: share of its variance that belongs to an arm, for all seeds.
        training_share: share that belongs to one training; the rest is common to all models.
        shared: share of an arm's variance between locations that is the same in all strata.
        scene_sd: standard deviation of eta between scenes.
        scene_training_sd: standard deviation of eta between trainings for one scene.
        undisputed: share of clips on which all models agree.
        scenes: their number.
        one_half: all seeds are judged on one half, as in adaptive searches.
    """

    name: str
    accuracies: tuple[float, ...]
    seeds: tuple[int, ...]
    seed_sd: float
    noisy: tuple[float, ...] = ()
    arm_noise: float = 1.0
    tails: Tails = "normal"
    locations: int | tuple[tuple[int, ...], tuple[int, ...]] = 7
    clips: int = 106
    clips_sd: float = 0.3
    location_sd: float = 0.8
    arm_share: float = 0.1
    training_share: float = 0.2
    shared: float = 0.5
    scene_sd: float = 0.6
    scene_training_sd: float = 0.1
    undisputed: float = 0.5
    scenes: int = 10
    one_half: bool = False

    def design(self) -> "Design":
        """Scenes, halves and clips of the test locations, the same in all simulated studies."""
        counts = (
            np.full((2, self.scenes), self.locations)
            if isinstance(self.locations, int)
            else np.array(self.locations)
        )
        scene = np.concatenate([np.repeat(np.arange(self.scenes), own) for own in counts])
        half = np.repeat([0, 1], counts.sum(axis=1))
        spread = np.random.default_rng(0).standard_normal(len(scene))
        clips = self.clips * np.exp(self.clips_sd * spread)
        return Design(scene, half, np.maximum(2, 2 * np.round(clips / 2)).astype(np.int64))

    def judged_on(self) -> list[NDArray[np.int64]] | None:
        """As ``pooled_effect`` takes it."""
        return [np.zeros(count, np.int64) for count in self.seeds] if self.one_half else None


@dataclass(frozen=True)
class Design:
    """(locations,) scene, half and clips, as ``pooled_effect`` takes them."""

    scene: NDArray[np.int64]
    half: NDArray[np.int64]
    clips: NDArray[np.int64]

    @property
    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return self.scene, self.half, self.clips


class Generator:
    """Draws the accuracies of trainings at locations in one world."""

    def __init__(self, world: World, studies: int, generator: np.random.Generator) -> None:
        self.world = world
        self.design = world.design()
        self._studies = studies
        self._random = generator
        quantiles = special.ndtri((np.arange(world.scenes) + 0.5) / world.scenes)
        self._difficulty = world.scene_sd * quantiles
        self._variance = world.location_sd**2
        self._disputed = np.round((1 - world.undisputed) * self.design.clips).astype(np.int64)

    def normal(self, variance: float | Floats, *size: int) -> Floats:
        return np.sqrt(variance) * self._random.standard_normal(size)

    def common(self) -> Floats:
        """Noise of the locations that all models of a stratum have in common."""
        share = 1 - self.world.arm_share - self.world.training_share
        return self.normal(self._variance * share, self._studies, 1, len(self.design.scene))

    def persistent(self, share: float) -> Floats:
        """Noise of the locations with a share of their variance, the same for all trainings."""
        return self.normal(self._variance * share, self._studies, 1, len(self.design.scene))

    def trainings(
        self, stratum: int, gain: float | Floats, locations: Floats, seeds: int, factor: float = 1.0
    ) -> Floats:
        """(studies, seeds, locations) accuracies of trainings.

        Args:
            stratum: number of the stratum.
            gain: true effect over the template in points; broadcast to (studies, seeds).
            locations: noise of the locations, common and persistent.
            seeds: number of trainings.
            factor: of the noise of trainings.
        """
        world, scene = self.world, self.design.scene
        accuracy = world.accuracies[stratum] / 100
        sd = world.seed_sd * factor * (world.noisy[stratum] if world.noisy else 1.0) / 100
        base = self._level(accuracy, 0.0)
        slope = (self._mean(base + 1e-4, 0.0) - accuracy) / 1e-4
        seed_variance = (sd / slope / (1 - world.undisputed)) ** 2
        # Phi is not linear: noise of trainings shifts the mean, so the level allows for it.
        gains, place = np.unique(np.asarray(gain, float), return_inverse=True)
        wanted = accuracy + gains / 100 / (1 - world.undisputed)
        levels = self._levels(wanted, seed_variance)
        level = levels[place].reshape(np.shape(gain))
        if np.ndim(gain):
            level = level[..., None]
        eta = level + self._difficulty[scene] + locations
        eta = eta + np.sqrt(seed_variance) * self._training_noise(seeds)
        own = self.normal(world.scene_training_sd**2, self._studies, seeds, world.scenes)
        eta = eta + own[..., scene]
        eta = eta + self.normal(
            self._variance * world.training_share, self._studies, seeds, len(scene)
        )
        right = self._random.binomial(self._disputed, special.ndtr(eta))
        agreed = (self.design.clips - self._disputed) * accuracy
        return 100 * (right + agreed) / self.design.clips

    def _training_noise(self, seeds: int) -> Floats:
        size = (self._studies, seeds, 1)
        if self.world.tails == "t3":
            return self._random.standard_t(3, size) / np.sqrt(3)
        if self.world.tails == "skewed":
            return self._random.exponential(size=size) - 1
        return self._random.standard_normal(size)

    def _mean(self, level: float, seed_variance: float) -> float:
        """True macro accuracy on the disputed clips at a level of eta."""
        variance = self._variance + self.world.scene_training_sd**2 + seed_variance
        return float(special.ndtr((level + self._difficulty) / np.sqrt(1 + variance)).mean())

    def _levels(self, accuracies: Floats, seed_variance: float) -> Floats:
        if len(accuracies) <= GRID:
            return np.array([self._level(one, seed_variance) for one in accuracies])
        known = np.linspace(accuracies[0], accuracies[-1], GRID)
        return np.interp(accuracies, known, self._levels(known, seed_variance))

    def _level(self, accuracy: float, seed_variance: float) -> float:
        """The level of eta at which the true macro accuracy on the disputed clips is that."""
        return float(
            optimize.brentq(lambda level: self._mean(level, seed_variance) - accuracy, -20, 20)
        )


def simulate_arms(
    world: World, gains: Sequence[float], studies: int, generator: np.random.Generator
) -> list[list[Floats]]:
    """Accuracies of several arms, FocusNet first: for each arm an array a stratum.

    Args:
        gains: true accuracy of each arm over the template's in points, the same in all strata.
    """
    own = Generator(world, studies, generator)
    shared = [own.persistent(world.arm_share * world.shared) for _ in gains]
    arms: list[list[Floats]] = [[] for _ in gains]
    for stratum, seeds in enumerate(world.seeds):
        common = own.common()
        for place, gain in enumerate(gains):
            persistent = shared[place] + own.persistent(world.arm_share * (1 - world.shared))
            factor = world.arm_noise if place == 0 else 1.0
            arms[place].append(own.trainings(stratum, gain, common + persistent, seeds, factor))
    return arms


def observed_sd(world: World, generator: np.random.Generator, studies: int = 200) -> float:
    """What a report of studies in this world states as the standard deviation of a training."""
    arm, against = simulate_arms(world, (0.0, 0.0), studies, generator)
    noise = noise_components(arm, against, *world.design().arrays, world.judged_on())
    return noise.pooled_training_sd
