"""States which effect a confirmation could detect at each look, from the noise that is expected.

Equations as in ``focusnet.statistics``: the variance of the average effect is that of trainings,
which falls with seeds, plus that of locations, which does not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from focusnet.errors import ConfigError
from focusnet.statistics.pooled import FEWEST_SEEDS, Effect
from focusnet.statistics.verdict import AVERAGE_ALPHA
from study.ledger.ledger import ARM, Ledger, Trial
from study.plan.data_size import largest_data
from study.search.confirmation import planned_looks
from study.search.follow_up import seeds_on_half
from study.space.recorded import validate_recorded
from study.space.settings import MOST_SEEDS
from study.space.space import Space

POWER = 0.8
TRAINING_SD = 1.0  # points; of a training's macro accuracy over seeds
# Points; what a location adds persistently to the effect in one stratum, and the share of its
# variance that all strata have in common. As in the simulations of docs/statistics.md.
LOCATION_SD, SHARED = 5.0, 0.5
TAU22_LOCATIONS, TAU22_SCENES = 140, 10


@dataclass(frozen=True)
class ExpectedNoise:
    """Noise of the effect that a plan reckons with, in points.

    Attributes:
        source: where it comes from, in words.
        difference_sd: over seeds, of the effect of one pair of trainings on one half.
        location_sd: over locations, of what one adds to the average effect; None: as assumed.
        by_stratum: ``difference_sd`` of the strata that an earlier study has.
    """

    source: str
    difference_sd: float = math.sqrt(2) * TRAINING_SD
    location_sd: float | None = None
    by_stratum: Mapping[Any, float] = field(default_factory=dict)

    def of_stratum(self, stratum: Any) -> float:
        """``difference_sd`` of one stratum."""
        return self.by_stratum.get(stratum, self.difference_sd)


ASSUMED = ExpectedNoise(
    f"assumed: a training's macro accuracy varies by {TRAINING_SD:g} point (sd) over seeds, and a "
    f"location adds {LOCATION_SD:g} points (sd) to the effect in a stratum, half of that variance "
    "in all strata; --noise takes it from an earlier study"
)


@dataclass(frozen=True)
class Detection:
    """What a look can find.

    Attributes:
        seeds: of each stratum up to the look.
        level: the p-value at which it claims.
        points: the effect that it detects with a probability of 80 %; infinite if none.
    """

    seeds: Mapping[Any, int]
    level: float
    points: float


def detections(space: Space, noise: ExpectedNoise = ASSUMED) -> list[Detection]:
    """What each look of a new study can find; empty if the average is not judged."""
    if space.confirm_looks:
        looks = [(dict(look.seeds), look.level) for look in planned_looks(space)]
    else:
        looks = [({s: len(space.confirm_seeds) for s in space.strata}, AVERAGE_ALPHA)]
    fewest = FEWEST_SEEDS if space.cross_fit else FEWEST_SEEDS - 1
    return [
        Detection(seeds, level, detectable(expected_effect(space, seeds, noise), level))
        for seeds, level in looks
        if min(seeds.values()) >= fewest
    ]


def expected_effect(space: Space, seeds: Mapping[Any, int], noise: ExpectedNoise) -> Effect:
    """The variances, and degrees of freedom, of the average effect of so many seeds."""
    halves = 2 if space.cross_fit else 1
    variances, dfs = [], []
    for stratum, count in seeds.items():
        on_halves = [seeds_on_half(space, half, count) for half in ("report", "select")]
        shares = sum(1 / n for n in on_halves if n) / halves**2
        variances.append(noise.of_stratum(stratum) ** 2 * shares / len(seeds) ** 2)
        dfs.append(count - halves)
    variance, df = sum(variances), np.array(dfs)
    of_locations, location_df = _location_variance(space, len(seeds), halves, noise)
    satterthwaite = variance**2 / float((np.array(variances) ** 2 / df).sum())
    return Effect(*(np.array([x]) for x in (0.0, variance, satterthwaite, of_locations,
                                            location_df)))  # fmt: skip


def _location_variance(
    space: Space, strata: int, halves: int, noise: ExpectedNoise
) -> tuple[float, float]:
    data = largest_data(space)
    locations, scenes = data.locations, data.scenes
    if not locations:
        locations, scenes = TAU22_LOCATIONS, TAU22_SCENES
    used = locations * halves / 2
    sd = noise.location_sd
    if sd is None:
        sd = LOCATION_SD * math.sqrt(SHARED + (1 - SHARED) / strata)
    return sd**2 / used, max(used - scenes * halves, 1.0)


def detectable(effect: Effect, level: float) -> float:
    """The effect that is claimed at ``level`` with a probability of 80 %."""
    if level <= 0:
        return math.inf
    parts = np.array([effect.seed_variance[0], effect.location_variance[0]])
    dfs = np.array([effect.seed_df[0], effect.location_df[0]])
    df = parts.sum() ** 2 / (parts**2 / dfs).sum()
    limit = float(effect.critical_value(level)[0])
    return float(special.nctdtrinc(df, 1 - POWER, limit) * effect.standard_error()[0])


def seeds_to_detect(space: Space, points: float, noise: ExpectedNoise) -> dict[Any, int] | None:
    """The last look's seeds, multiplied until it would detect ``points``; None if none do."""
    last = detections(space, noise)[-1]
    for percent in range(110, 100 * MOST_SEEDS, 10):
        seeds = {s: math.ceil(n * percent / 100) for s, n in last.seeds.items()}
        if max(seeds.values()) > MOST_SEEDS:
            return None
        if detectable(expected_effect(space, seeds, noise), last.level) <= points:
            return seeds
    return None


def noise_of_study(name: str, results: Path) -> ExpectedNoise:
    """The noise of an earlier study's confirmation, by its name in ``results`` or by its folder.

    Raises:
        ConfigError: there is no such study, or its confirmation shows no noise.
    """
    from focusnet.statistics.noise import noise_components  # imports pandas, as collect does
    from study.search.look import collect

    folder = next((f for f in (results / name, Path(name)) if Ledger(f).exists()), None)
    if folder is None:
        raise ConfigError(f"--noise {name}: no such study in {results.absolute()}, nor a folder")
    ledger = Ledger(folder)
    space = validate_recorded(ledger.space(), str(ledger.space_path))
    confirmed = [one for one in ledger.trials() if one.phase == "confirm" and one.arm == ARM]
    # Of each stratum the winners that have the most trainings on each half.
    trials = {s: _most_repeated([t for t in confirmed if t.stratum == s]) for s in space.strata}
    found, locations = collect(trials, ledger.predictions)
    halves = 2 if space.cross_fit else 1
    counted = {s: own for s, own in found.items() if own.suffice(halves)}
    if locations is None or not counted:
        raise ConfigError(
            f"--noise {name}: its confirmation has no stratum with {FEWEST_SEEDS} finished seeds "
            "or more, so it shows no noise of trainings"
        )
    noise = noise_components(
        [own.focus for own in counted.values()],
        [own.template for own in counted.values()],
        locations.scene,
        locations.half,
        locations.clips,
        [own.judged_on for own in counted.values()],
    )
    sd = noise.location_sd if math.isfinite(noise.location_sd) else None
    where = "as assumed without it" if sd is None else f"{sd:.2f}"
    return ExpectedNoise(
        f"of {folder} ({len(counted)} strata, {sum(noise.seeds)} seeds): a training's macro "
        f"accuracy varies by {noise.pooled_training_sd:.2f} points (sd), its effect by "
        f"{noise.pooled_difference_sd:.2f}; a location adds {where} to the average effect, a "
        f"single training at a single location {noise.cell_sd:.2f}",
        noise.pooled_difference_sd,
        sd,
        dict(zip(counted, noise.difference_sd, strict=True)),
    )


def _most_repeated(trials: Sequence[Trial]) -> list[Trial]:
    """Of the winners that a stratum has had, the one with the most trainings on each half."""
    chosen = []
    for half in ("report", "select"):
        groups: dict[str, list[Trial]] = {}
        for trial in trials:
            if trial.judged_on == half and trial.status == "finished":
                groups.setdefault(str(trial.parameters), []).append(trial)
        chosen += sorted(groups.values(), key=len)[-1] if groups else []
    return chosen
