"""Pairs the predictions of FocusNet and its template, or of the students that both have taught.

They are from trials with fresh seeds, pooled; where there are none, from the winner of the search
alone.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.inference.confirmation import Network, half_of
from analysis.read_study import Stratum, Study, value_of
from analysis.tables.predictions import FOCUS, STUDENT, TEMPLATE
from focusnet.arms import FOCUSNET

# Device groups of TAU Urban Acoustic Scenes; the study records the accuracy of each.
GROUPS = {
    "real": "real (a, b, c)",
    "seen": "simulated, in training (s1-s3)",
    "unseen": "simulated, test only (s4-s6)",
}


@dataclass(frozen=True)
class Evidence:
    """A stratum's predictions, from one or several trainings, each on the half it is judged on.

    Attributes:
        clips: one row per clip and training, see ``Confirmation.pooled``.
        trials: the trainings, as rows of ``trials.parquet``.
        before: those that each is compared with; their own, unless students are compared.
        source: where the predictions are from, in words.
    """

    stratum: Stratum
    clips: pd.DataFrame
    trials: pd.DataFrame
    before: pd.DataFrame
    source: str
    network: Network = "teacher"

    @property
    def names(self) -> tuple[str, str]:
        """What is compared, for the headings of tables."""
        if self.network == "student":
            return "template's student", "FocusNet's student"
        return "template", "FocusNet"

    def shares(self, by: str) -> pd.DataFrame:
        """Share of correctly classified clips by the values of a column.

        Returns:
            ``template``, ``focus``, ``change`` (fractions), ``spread`` (standard deviation of the
            change over trainings; NaN for one) and ``clips`` (number of different clips).
        """
        clips = self.clips
        keys = clips[by].astype(str)
        seed = clips["seed"] if "seed" in clips else pd.Series(0, index=clips.index)
        right = pd.DataFrame(
            {
                stage: clips[stage].astype(str) == clips["scene"].astype(str)
                for stage in (TEMPLATE, FOCUS)
            }
        )
        by_seed = right.groupby([seed.rename("seed"), keys.rename("key")]).mean()
        change = (by_seed[FOCUS] - by_seed[TEMPLATE]).groupby("key")
        table = by_seed.groupby("key").mean()
        return table.assign(
            change=change.mean(),
            spread=change.std(),
            clips=clips["filename"].groupby(keys.rename("key")).nunique(),
        )

    def group_shares(self) -> pd.DataFrame:
        """As ``shares``, by device group, from the metrics that the trials recorded."""
        stages = (STUDENT, STUDENT) if self.network == "student" else (TEMPLATE, FOCUS)
        rows = {}
        for group, label in GROUPS.items():
            before, after = (
                np.array([value_of(trial, f"{stage}/{half_of(trial)}/group/{group}")
                          for _, trial in trials.iterrows()])
                for stage, trials in zip(stages, (self.before, self.trials), strict=True)
            )  # fmt: skip
            change = after - before
            rows[label] = {
                "template": before.mean(),
                "focus": after.mean(),
                "change": change.mean(),
                "spread": change.std(ddof=1) if len(change) > 1 else math.nan,
            }
        return pd.DataFrame(rows).T


def evidence_of(stratum: Stratum, network: Network = "teacher") -> Evidence | None:
    """A stratum's predictions, with fresh seeds if there are any; None without predictions.

    Students are compared with fresh seeds only.
    """
    confirmation = stratum.confirmation
    pooled = confirmation.pooled(network)
    if pooled is not None:
        seeds = confirmation.pairs(network)
        trials = _trials_of(confirmation.trials, FOCUSNET, seeds)
        students = network == "student"
        before = _trials_of(confirmation.trials, TEMPLATE, seeds) if students else trials
        who = "Students of the winner" if students else "The winner"
        return Evidence(
            stratum,
            pooled,
            trials,
            before,
            f"{who} of {stratum.label}, trained again with {len(seeds)} fresh "
            f"{'seed' if len(seeds) == 1 else 'seeds (pooled)'}, on "
            f"{'the half that each is judged on' if _halves(trials) > 1 else 'report'}",
            network,
        )
    if network == "student" or stratum.winner is None or stratum.clips is None:
        return None
    trials = stratum.winner.to_frame().T
    return Evidence(
        stratum, stratum.clips, trials, trials, f"The winner of {stratum.label} on report"
    )


def _trials_of(trials: pd.DataFrame, arm: str, seeds: tuple[int, ...]) -> pd.DataFrame:
    """The arm's trials, in the order of their seeds."""
    return trials[trials["seed"].isin(seeds) & (trials["arm"] == arm)].sort_values("seed")


def _halves(trials: pd.DataFrame) -> int:
    """Number of halves of the test split that trainings are judged on."""
    return len({half_of(trial) for _, trial in trials.iterrows()})


def main_evidence(study: Study, network: Network = "teacher") -> Evidence | None:
    """Evidence of the stratum with the most data."""
    return None if study.largest is None else evidence_of(study.largest, network)


def all_evidence(study: Study) -> list[Evidence]:
    """Evidence of every stratum that has predictions."""
    found = [evidence_of(stratum) for stratum in study.strata]
    return [one for one in found if one is not None]
