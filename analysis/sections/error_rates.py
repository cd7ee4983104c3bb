"""Simulates studies of this study's size and noise, and counts their true and false claims.

``analysis/calibration.py`` does the same for the size of the demo and of TAU22.
"""

import numpy as np
import pandas as pd

from analysis.calibration import Outcome, simulate
from analysis.inference.several_seeds import FEWEST_SEEDS
from analysis.inference.simulation import Plan
from analysis.read_study import Study
from analysis.render.document import Section, Table, counted, percent
from analysis.sections.arms import confirmed_accuracies
from analysis.sections.wording import NO_PREDICTIONS
from analysis.tables.predictions import TEMPLATE, scenes_of

EFFECTS = (0.0, 0.02, 0.04, 0.08)
DEFAULT_SEEDS, DEFAULT_SEED_SD = 5, 0.03  # for a study without fresh seeds


def error_rates_section(study: Study, studies: int = 200, seed: int = 0) -> Section:
    """Simulate studies like this one and count their claims."""
    title = "How often studies like this one err"
    plan = own_plan(study)
    if plan is None:
        return Section(title, [NO_PREDICTIONS])
    generator = np.random.default_rng(seed)
    outcomes = [simulate(plan, effect, studies, generator) for effect in EFFECTS]
    return Section(
        title,
        [
            f"{studies} simulated studies for each true effect: {counted(plan.seeds, 'seed')}, "
            f"{plan.scenes} scenes with {plan.locations} locations each, {plan.clips} clips per "
            f"location, template accuracies of {', '.join(percent(a) for a in plan.accuracies)} %, "
            f"a standard deviation over seeds of {percent(plan.seed_sd)} points in each arm. With "
            "a true effect of 0 every claim is false; about 5 % of the studies may make one.",
            Table(
                ("true effect", "strata with gain %", "with loss %", "studies with any claim %",
                 "intervals that miss %"),
                [_row(outcome) for outcome in outcomes],
            ),
        ],
    )  # fmt: skip


def own_plan(study: Study) -> Plan | None:
    """Plan a simulation with the study's size and noise; None without predictions."""
    clips = next((one.clips for one in study.strata if one.clips is not None), None)
    if clips is None:
        return None
    locations = clips.groupby(clips["scene"].astype(str))["location"].nunique()
    per_location = len(clips) / locations.sum()
    accuracies, spreads, seeds = [], [], []
    for stratum in study.winners:
        fresh = confirmed_accuracies(stratum, [TEMPLATE])[TEMPLATE]
        winner = pd.Series(dtype=float) if stratum.winner is None else stratum.winner
        recorded = winner.get("template/report/macro_accuracy", 0.5)
        accuracies.append(float(np.mean(fresh)) if len(fresh) else float(recorded))
        if len(fresh) >= FEWEST_SEEDS:
            spreads.append(float(fresh.var(ddof=1)))
            seeds.append(len(fresh))
    return Plan(
        study.name,
        accuracies=tuple(accuracies),
        seed_sd=float(np.sqrt(np.mean(spreads))) if spreads else DEFAULT_SEED_SD,
        scenes=len(scenes_of(clips)),
        seeds=max(seeds, default=DEFAULT_SEEDS),
        locations=max(2, round(float(locations.mean()))),
        clips=max(2, 2 * round(per_location / 2)),
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (
        percent(outcome.effect),
        percent(float((outcome.signs > 0).mean())),
        percent(float((outcome.signs < 0).mean())),
        percent(float(outcome.claimed.mean())),
        percent(float(outcome.misses.mean())),
    )
