"""Simulates whole studies: a search on a surface, winners by the joint fit, their confirmation.

The winners are chosen by what the search saw on either half of the test locations, luck at these
locations included, and are then confirmed on the same locations. So these simulations show whether
what was chosen is judged by what it was chosen on.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from analysis.inference.simulation import Generator, World
from focusnet.statistics.pooled import Effect, Floats, pooled_effect
from focusnet.statistics.surface import fit_surface

SHARES = (5.0, 10.0, 25.0, 50.0, 100.0)
TRIALS = (24, 24, 16, 8, 8)
RANGE = 3.0  # points between the best and the worst setting
SETTING_SHARE = 0.5  # of an arm's noise of locations that belongs to one setting
DRIFT = 0.05  # how far the best setting moves from stratum to stratum, in the unit square


@dataclass(frozen=True)
class WholeStudies:
    """Results of simulated studies; ``truth`` is what the winners are really worth."""

    average: Effect
    strata: list[Effect]
    truth: Floats  # (studies,)
    lost: Floats  # (studies,) how far the winners are below the best setting


def simulate_whole(
    world: World, best: float, studies: int, generator: np.random.Generator
) -> WholeStudies:
    """Search, choose, confirm.

    Args:
        world: with five strata.
        best: what the best setting is worth in points. With 0 all settings are worth nothing;
            else the worst is ``RANGE`` points below the best.
    """
    settings = np.asarray(qmc.Sobol(2, seed=generator).random_base2(5))[: max(TRIALS)]
    gains = _surfaces(settings, best, studies, generator)  # (studies, strata, settings)
    own = Generator(world, studies, generator)
    half = own.design.half
    luck = own.normal(
        world.location_sd**2 * world.arm_share * SETTING_SHARE, studies, max(TRIALS), len(half)
    )
    shared = [own.persistent(world.arm_share * world.shared * share)
              for share in (1 - SETTING_SHARE, 1.0)]  # fmt: skip
    common = [own.common() for _ in world.seeds]
    arm_noise = [
        shared[0] + own.persistent(world.arm_share * (1 - world.shared) * (1 - SETTING_SHARE))
        for _ in world.seeds
    ]
    searched = [
        own.trainings(k, gains[:, k, :n], common[k] + arm_noise[k] + luck[:, :n], n)
        for k, n in enumerate(TRIALS)
    ]
    chosen = np.stack([_winners(searched, settings, own, h) for h in (0, 1)])  # by half
    arm, against = [], []
    rows = np.arange(studies)[:, None]
    for k, seeds in enumerate(world.seeds):
        # Seed r is judged on half r % 2: its winner was chosen on the other.
        winner = chosen[1 - np.arange(seeds) % 2, :, k].T  # (studies, seeds)
        locations = common[k] + arm_noise[k] + luck[rows, winner]
        arm.append(own.trainings(k, gains[rows, k, winner], locations, seeds))
        template = own.persistent(world.arm_share * (1 - world.shared)) + shared[1]
        against.append(own.trainings(k, 0.0, common[k] + template, seeds))
    average, strata = pooled_effect(arm, against, *own.design.arrays)
    strata_of = np.arange(len(world.seeds))
    worth = gains[rows[None], strata_of, chosen]  # (halves, studies, strata)
    return WholeStudies(average, strata, worth.mean(axis=(0, 2)), best - worth.mean(axis=(0, 2)))


def _surfaces(
    settings: Floats, best: float, studies: int, generator: np.random.Generator
) -> Floats:
    """(studies, strata, settings): quadratic around a point that drifts with the stratum."""
    if best == 0:
        return np.zeros((studies, len(SHARES), len(settings)))
    peak = generator.uniform(0.2, 0.8, (studies, 1, 2))
    drift = generator.normal(0, DRIFT, (studies, len(SHARES), 2)).cumsum(axis=1)
    apart = ((settings[None, None] - (peak + drift)[:, :, None]) ** 2).sum(axis=-1)
    return best - RANGE * np.minimum(apart / 0.64, 1.0)


def _winners(searched: list[Floats], settings: Floats, own: Generator, half: int) -> Floats:
    """(studies, strata) place of the winning setting by what half of the locations shows."""
    weights = np.where(own.design.half == half, own.design.clips, 0.0)
    scenes = np.eye(own.world.scenes)[own.design.scene]
    macro = weights / (weights @ scenes)[own.design.scene] / own.world.scenes
    values = np.concatenate([trials @ macro for trials in searched], axis=1)
    stratum = np.repeat(np.arange(len(TRIALS)), TRIALS)
    points = np.concatenate([settings[:n] for n in TRIALS])
    logs = np.log(SHARES)
    distance = np.abs(logs[:, None] - logs)
    return np.array(
        [
            fit_surface(points, stratum.tolist(), one, settings, distance).mean.argmax(axis=1)
            for one in values
        ]
    )
