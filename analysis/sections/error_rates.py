"""Simulates studies of this study's size and noise, and counts their true and false claims.

``analysis/calibration.py`` does the same for the size of the demo and of TAU22.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.inference.comparisons import accuracy_of
from analysis.inference.simulation import World, observed_sd
from analysis.inference.worlds import Errors, count_errors
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import Section, Table, number, percent
from analysis.sections.wording import NO_PREDICTIONS
from analysis.tables.predictions import TEMPLATE, scenes_of
from focusnet.statistics.pooled import FEWEST_SEEDS

EFFECTS = (0.0, 1.0, 2.0, 4.0)  # points
DEFAULT_SEEDS, DEFAULT_SEED_SD = 6, 3.0  # for a study without fresh seeds


def error_rates_section(study: Study, studies: int = 200, seed: int = 0) -> Section:
    """Simulate studies like this one and count their claims."""
    title = "How often studies like this one err"
    world = own_world(study)
    if world is None:
        return Section(title, [NO_PREDICTIONS])
    generator = np.random.default_rng(seed)
    outcomes = [count_errors(world, effect, studies, generator) for effect in EFFECTS]
    seeds = ", ".join(str(count) for count in world.seeds)
    return Section(
        title,
        [
            f"{studies} simulated studies for each true effect, with this study's scenes, "
            f"locations and numbers of clips, {seeds} seeds by stratum, template accuracies of "
            f"{', '.join(number(one, 1) for one in world.accuracies)} %, and trainings whose "
            "macro accuracy has a standard deviation over seeds of "
            f"{number(outcomes[0].observed_sd, 2)} points as it is observed. {_locations(study)}"
            "With a true effect of 0 every claim is false; about 5 % of the studies may make one. "
            "They are judged as a study with one look is.",
            Table(
                ("true effect", "gain on average %", "any claim %", "no gain of 1 point %",
                 "intervals of the average that miss %", "of the strata %"),
                [_row(outcome) for outcome in outcomes],
            ),
        ],
    )  # fmt: skip


def _locations(study: Study) -> str:
    noise = study.claims.template.noise
    if noise is None:
        return "Noise is assumed, since there are no fresh seeds. "
    return (
        "How much locations differ is assumed as docs/statistics.md says; this study's own shows "
        f"{number(noise.location_variance**0.5, 2)} points in the average. "
    )


def own_world(study: Study, seed: int = 1) -> World | None:
    """A world with the study's size and noise; None without predictions.

    What a report states as a training's standard deviation contains luck at single locations,
    which the simulation adds by itself. So the world gets what is left of it, lest it counts twice.
    """
    sizes = _location_sizes(study)
    strata = [one for one in study.strata if one.winner is not None or one.confirmation.trainings]
    if sizes is None or not strata:
        return None
    clips = sizes.to_numpy(float)
    one_half = not study.plan.cross_fit
    fewest = FEWEST_SEEDS - 1 if one_half else FEWEST_SEEDS
    claims = study.claims.template
    planned = [study.plan.seeds(one.value, study.plan.current_look) if study.plan.looks else 0
               for one in strata]  # fmt: skip
    seeds = [claims.seeds.get(one.value) or count or DEFAULT_SEEDS
             for one, count in zip(strata, planned, strict=True)]  # fmt: skip
    world = World(
        study.name,
        accuracies=tuple(_template_accuracy(study, one) for one in strata),
        seeds=tuple(max(fewest, count) for count in seeds),
        seed_sd=DEFAULT_SEED_SD,
        scenes=sizes.index.get_level_values("scene").nunique(),
        locations=_counts(sizes),
        clips=max(2, round(float(np.exp(np.log(clips).mean())))),
        clips_sd=float(np.log(clips).std()),
        one_half=one_half,
    )
    if claims.noise is None:
        return world
    floor = observed_sd(replace(world, seed_sd=0.0), np.random.default_rng(seed))
    left = claims.noise.pooled_training_sd**2 - floor**2
    return replace(world, seed_sd=float(np.sqrt(max(left, 0.0))))


def _location_sizes(study: Study) -> "pd.Series[int] | None":
    """Clips by half, scene and location."""
    for stratum in study.strata:
        locations = stratum.confirmation.locations
        if locations is not None:
            index = locations.index.set_names(["half", "scene", "location"])
            return pd.Series(locations.clips, index=index)
    clips = next((one.clips for one in study.strata if one.clips is not None), None)
    if clips is None:
        return None
    scenes = pd.Categorical(clips["scene"].astype(str), scenes_of(clips))
    sizes = clips.groupby([scenes.astype(str), clips["location"].astype(str)]).size()
    halves = pd.concat(dict.fromkeys(("report", "select"), sizes))
    return halves.rename_axis(["half", "scene", "location"])


def _counts(sizes: "pd.Series[int]") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Locations of each scene in both halves; a scene that one lacks gets a location there."""
    table = sizes.groupby(["half", "scene"], observed=True).size().unstack("scene")
    counts: Any = table.reindex(["report", "select"]).fillna(1).to_numpy(int)
    return tuple(counts[0].tolist()), tuple(counts[1].tolist())


def _template_accuracy(study: Study, stratum: Stratum) -> float:
    """Mean of the fresh templates in %, else that of the winner's; within what can be simulated."""
    effect = accuracy_of(stratum.confirmation, TEMPLATE, study.plan)
    recorded = 100 * value_of(stratum.winner, "template/report/macro_accuracy")
    found = recorded if effect is None else float(effect.estimate[0])
    return float(np.clip(50.0 if np.isnan(found) else found, 5.0, 95.0 - max(EFFECTS)))


def _row(outcome: Errors) -> tuple[str, ...]:
    return (
        number(outcome.effect, 1),
        percent(outcome.gains),
        percent(outcome.claims),
        percent(outcome.small),
        percent(outcome.misses),
        percent(outcome.stratum_misses),
    )
