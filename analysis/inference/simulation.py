"""Simulates studies whose true effect is known, to measure how often the statistics err.

A clip is right with probability Phi(eta). eta is the sum of the arm's level in the stratum, the
scene's difficulty, and noise of the training (seed) and of the location, of which a part is common
to all models, a part belongs to an arm, and a part to one training. All noise is normal, so the
true effect is known exactly: the mean of Phi(z + N(0, v)) is Phi(z / sqrt(1 + v)).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from analysis.inference.several_seeds import Design, Floats


@dataclass(frozen=True)
class Plan:
    """Size and noise of the studies; accuracies and effects are fractions.

    Attributes:
        name: of the data set.
        accuracies: of the arm that the other is compared with, one per stratum.
        seed_sd: standard deviation of a training's macro accuracy over seeds. The two trainings of
            a pair vary independently: their difference has sqrt(2) times as much.
        location_sd: standard deviation of eta between locations of a scene.
        arm_share: share of the variance between locations that belongs to an arm, for all seeds.
        training_share: share that belongs to one training; the rest is common to all models.
        scene_sd: standard deviation of eta between scenes.
        scene_training_sd: standard deviation of eta between trainings for one scene.
        undisputed: share of clips on which all models agree.
        clips_sd: standard deviation of the logarithm of a location's number of clips.
    """

    name: str
    accuracies: tuple[float, ...]
    seed_sd: float
    scenes: int = 10
    seeds: int = 5
    locations: int = 6  # per scene
    clips: int = 4  # per location, on average
    location_sd: float = 0.8
    arm_share: float = 0.1
    training_share: float = 0.2
    scene_sd: float = 0.6
    scene_training_sd: float = 0.1
    undisputed: float = 0.5
    clips_sd: float = 0.0

    def design(self) -> Design:
        """Scenes, locations and clips, the same for all simulated studies."""
        scene = np.repeat(np.arange(self.scenes), self.locations)
        quantiles = special.ndtri((np.arange(self.locations) + 0.5) / self.locations)
        clips = np.tile(self.clips * np.exp(self.clips_sd * quantiles), self.scenes)
        return Design(scene, np.maximum(2, 2 * np.round(clips / 2)).astype(np.int64))

    def disputed_clips(self) -> NDArray[np.int64]:
        """(locations,) number of clips on which models may differ."""
        return np.round((1 - self.undisputed) * self.design().clips).astype(np.int64)


def simulate_differences(
    plan: Plan, effect: float, studies: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Right clips of one arm minus those of the other, (studies, strata, seeds, locations).

    The true effect, averaged over trainings and locations, is ``effect`` in every stratum.
    """
    scene, disputed_clips = plan.design().scene, plan.disputed_clips()
    difficulty = plan.scene_sd * special.ndtri((np.arange(plan.scenes) + 0.5) / plan.scenes)
    shape = (studies, 1, plan.seeds, len(scene))  # of one stratum; strata are independent

    def noise(variance: float, *size: int) -> Floats:
        return np.sqrt(variance) * generator.standard_normal(size)

    variance = plan.location_sd**2
    strata = []
    for accuracy in plan.accuracies:
        level = _level(plan, difficulty, accuracy)
        slope = (_mean(plan, difficulty, level + 1e-4, 0) - accuracy) / 1e-4
        seed_variance = (plan.seed_sd / slope / (1 - plan.undisputed)) ** 2
        common = noise(
            variance * (1 - plan.arm_share - plan.training_share), studies, 1, len(scene)
        )
        right = []
        for gain in (0.0, effect):
            higher = accuracy + gain / (1 - plan.undisputed)
            # Phi is not linear: noise of seeds shifts the mean, so the level allows for it.
            eta = _level(plan, difficulty, higher, seed_variance) + difficulty[scene]
            eta = eta + common + noise(variance * plan.arm_share, studies, 1, len(scene))
            eta = eta + noise(seed_variance, studies, plan.seeds, 1)
            eta = (
                eta + noise(plan.scene_training_sd**2, studies, plan.seeds, plan.scenes)[..., scene]
            )
            eta = eta + noise(variance * plan.training_share, studies, plan.seeds, len(scene))
            right.append(generator.binomial(disputed_clips, special.ndtr(eta)))
        strata.append((right[1] - right[0]).reshape(shape))
    return np.concatenate(strata, axis=1)


def _mean(plan: Plan, difficulty: Floats, level: float, seed_variance: float) -> float:
    """True macro accuracy on the disputed clips at a level of eta."""
    variance = plan.location_sd**2 + plan.scene_training_sd**2 + seed_variance
    return float(special.ndtr((level + difficulty) / np.sqrt(1 + variance)).mean())


def _level(plan: Plan, difficulty: Floats, accuracy: float, seed_variance: float = 0) -> float:
    """The level of eta at which the true macro accuracy on the disputed clips is ``accuracy``."""
    return float(
        optimize.brentq(
            lambda level: _mean(plan, difficulty, level, seed_variance) - accuracy, -20, 20
        )
    )
