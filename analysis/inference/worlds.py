"""Lists the simulated worlds, and counts what studies in each of them claim and miss.

Each count is made by the functions that judge real studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.inference.order import ordered_verdicts
from analysis.inference.plan import information
from analysis.inference.simulation import World, simulate_arms
from analysis.inference.whole_studies import simulate_whole
from focusnet.statistics.looks import look_levels
from focusnet.statistics.noise import noise_components
from focusnet.statistics.pooled import Effect, Floats, pooled_effect
from focusnet.statistics.verdict import AVERAGE_ALPHA, study_verdicts

# TAU22's test split: 29,680 clips in two halves; about 7 locations per scene and half, because the
# 2019 split of the same recordings tests 4,185 segments of 10 s, about 33 per location. Accuracies
# are near those published for baselines and best systems.
TAU22 = World("TAU22", (48, 53, 57, 60, 62), seeds=(12, 10, 8, 6, 6), seed_sd=1.0)
# The demo's synthetic data; accuracies and noise were measured on it.
DEMO = World(
    "demo", (38, 62), seeds=(6, 6), seed_sd=3.0, locations=6, clips=4, clips_sd=0.0
)  # fmt: skip
LOOKS = ((6, 6, 4, 4, 4), (12, 10, 8, 6, 6), (18, 16, 12, 10, 8), (24, 20, 16, 12, 12))
FEW_LOCATIONS = (  # drawn at random from 1 to 4, for each scene in either half
    (2, 3, 4, 4, 1, 1, 4, 4, 1, 2),
    (4, 2, 2, 4, 2, 2, 3, 3, 1, 1),
)
NULL = (
    *(replace(TAU22, seed_sd=sd) for sd in (0.5, 1.0, 2.0)),
    *(replace(DEMO, seed_sd=sd) for sd in (0.5, 3.0)),
    replace(TAU22, name="1 to 4 locations", locations=FEW_LOCATIONS, seed_sd=0.5),
    replace(TAU22, name="1 to 4 locations", locations=FEW_LOCATIONS, seed_sd=2.0),
    replace(TAU22, name="unequal clips", clips_sd=1.0),
    replace(TAU22, name="heavy tails (t3)", tails="t3", seed_sd=2.0),
    replace(TAU22, name="skewed tails", tails="skewed", seed_sd=2.0),
    replace(TAU22, name="a noisy stratum", noisy=(4.0, 1.0, 1.0, 1.0, 1.0)),
    replace(TAU22, name="FocusNet noisier x 3", arm_noise=3.0),
    replace(TAU22, name="strata correlated", shared=1.0, arm_share=0.3),
    replace(TAU22, name="three seeds", seeds=(3, 3, 3, 3, 3)),
    replace(TAU22, name="one half, 5 seeds", seeds=(5, 5, 5, 5, 5), one_half=True),
)
SEED_SDS = (0.5, 1.0, 2.0)
EFFECTS = (1.0, 2.0)


@dataclass(frozen=True)
class Errors:
    """Counts of simulated studies, as shares unless they are in points.

    Attributes:
        world: what was simulated.
        effect: the true one.
        studies: their number.
        claims: studies that claim a gain or a loss on average or in a stratum.
        gains: studies that claim a gain on average.
        small: studies that say that the effect is smaller than the margin, or no gain of it.
        misses: 95 % intervals of the average that miss the truth.
        stratum_misses: the same of the strata.
        arm_claims: studies with a claim over a control, where FocusNet is 3 points better than the
            template and equal to the controls; NaN where not simulated.
        here: studies whose average differs from 0 on the test locations at hand, p 0.05.
        observed_sd: standard deviation of a training as a report states it, points.
        effect_sd: standard deviation of the estimated average, points.
        mean_looks: share of the largest number of seeds that the studies used.
    """

    world: World
    effect: float
    studies: int
    claims: float
    gains: float
    small: float
    misses: float
    stratum_misses: float = np.nan
    arm_claims: float = np.nan
    here: float = np.nan
    observed_sd: float = np.nan
    effect_sd: float = np.nan
    mean_looks: float = np.nan


def count_errors(
    world: World, effect: float, studies: int, generator: np.random.Generator, *, arms: bool = False
) -> Errors:
    """Simulate studies with one look and judge them; with ``arms`` also three controls."""
    arm, against = simulate_arms(world, (effect, 0.0), studies, generator)
    design = (*world.design().arrays, world.judged_on())
    average, strata = pooled_effect(arm, against, *design)
    verdict, own = study_verdicts(average, strata)
    return Errors(
        world,
        effect,
        studies,
        claims=float(_claimed(verdict, own).mean()),
        gains=float((verdict == "gain").mean()),
        small=float(np.isin(verdict, ["small", "no gain"]).mean()),
        misses=float(_missed(average, effect).mean()),
        stratum_misses=float(np.mean([_missed(one, effect) for one in strata])),
        arm_claims=arm_claims(world, studies, generator) if arms else np.nan,
        here=float((average.p_value(locations=False) <= 0.05).mean()),
        observed_sd=noise_components(arm, against, *design).pooled_training_sd,
        effect_sd=float(average.estimate.std()),
    )


def _claimed(average: NDArray[np.str_], strata: Sequence[NDArray[np.str_]]) -> NDArray[np.bool_]:
    return np.any([np.isin(one, ["gain", "loss"]) for one in (average, *strata)], axis=0)


def _missed(effect: Effect, truth: float | Floats) -> NDArray[np.bool_]:
    low, high = effect.interval()
    return (low > truth) | (high < truth)


def arm_claims(world: World, studies: int, generator: np.random.Generator) -> float:
    """Share of studies with a false claim over placebo, label smoothing or distillation."""
    focusnet, template, *controls = simulate_arms(
        world, (3.0, 0.0, 3.0, 3.0, 3.0), studies, generator
    )
    design = (*world.design().arrays, world.judged_on())
    effects = [pooled_effect(focusnet, other, *design)[0] for other in (template, *controls)]
    _, *later = ordered_verdicts([effects[:1], effects[1:2], effects[2:]], AVERAGE_ALPHA)
    return float(_claimed(*_first_and_rest([one for step in later for one in step])).mean())


def _first_and_rest(
    verdicts: list[NDArray[np.str_]],
) -> tuple[NDArray[np.str_], list[NDArray[np.str_]]]:
    return verdicts[0], verdicts[1:]


def count_with_looks(
    world: World, effect: float, studies: int, generator: np.random.Generator
) -> Errors:
    """Simulate studies with planned looks that end at a gain, a loss or a small effect."""
    largest = replace(world, seeds=LOOKS[-1])
    arm, against = simulate_arms(largest, (effect, 0.0), studies, generator)
    totals = [sum(look) for look in LOOKS]
    levels = look_levels(information(LOOKS))
    verdict = np.full(studies, "undecided", dtype="<U9")
    claims, misses = np.zeros(studies, bool), np.zeros(studies, bool)
    used = np.zeros(studies)
    going = np.ones(studies, bool)
    for look, level, total in zip(LOOKS, levels, totals, strict=True):
        one, other = ([x[:, :n] for x, n in zip(of, look, strict=True)] for of in (arm, against))
        average, strata = pooled_effect(one, other, *largest.design().arrays)
        found, own = study_verdicts(average, strata, level)
        ends = going & (np.isin(found, ["gain", "loss", "small"]) | (look == LOOKS[-1]))
        verdict = np.where(going, found, verdict)
        claims = np.where(ends, _claimed(found, own), claims)
        misses = np.where(ends, _missed(average, effect), misses)
        used = np.where(going, total / totals[-1], used)
        going &= ~ends
    return Errors(
        world,
        effect,
        studies,
        claims=float(claims.mean()),
        gains=float((verdict == "gain").mean()),
        small=float(np.isin(verdict, ["small", "no gain"]).mean()),
        misses=float(misses.mean()),
        mean_looks=float(used.mean()),
    )


def count_whole(world: World, best: float, studies: int, generator: np.random.Generator) -> Errors:
    """Simulate searches and their confirmations; the truth is what the winners are worth."""
    found = simulate_whole(world, best, studies, generator)
    verdict, own = study_verdicts(found.average, found.strata)
    return Errors(
        world,
        float(found.truth.mean()),
        studies,
        claims=float(_claimed(verdict, own).mean()),
        gains=float((verdict == "gain").mean()),
        small=float(np.isin(verdict, ["small", "no gain"]).mean()),
        misses=float(_missed(found.average, found.truth).mean()),
        effect_sd=float(found.average.estimate.std()),
    )
