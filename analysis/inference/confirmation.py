"""Reads a stratum's confirmation: the winner and its controls, trained again with fresh seeds.

The winner of a search looks good because it was picked for that. So it and its controls are
trained again with seeds that the search has not used, and only these trials support a claim.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.inference.location_counts import (
    LocationCounts,
    PairedCounts,
    count_by_location,
    pair_by_seed,
)
from analysis.inference.several_seeds import (
    FEWEST_SEEDS,
    bootstrap_effects,
    interval,
    variance_components,
)
from analysis.tables.predictions import FOCUS, TEMPLATE, PredictionsError, read_clips
from focusnet.arms import FOCUSNET, PLACEBO

BEST_CONTROL = "best control"
COMPARISONS = (TEMPLATE, BEST_CONTROL, PLACEBO)  # what FocusNet is compared with
_SELECT = "focus/select/macro_accuracy"


@dataclass(frozen=True)
class Confirmation:
    """A stratum's trials with fresh seeds.

    Attributes:
        trials: their rows in ``trials.parquet``, of the current winner only.
        clips: by arm and seed, the predictions of the finished ones on report; see
            ``predictions.paired_clips``. All have the same clips.
        asked: number of trials that the study asks for; 0 where it has no confirmation.
        problems: predictions that cannot be read.
    """

    trials: pd.DataFrame
    clips: Mapping[tuple[str, int], pd.DataFrame]
    asked: int
    problems: tuple[str, ...] = ()

    @property
    def to_come(self) -> int:
        """Trials that have not ended yet; nothing is claimed while there are any."""
        return self.asked - int(self.trials["status"].isin(["finished", "failed"]).sum())

    @property
    def is_complete(self) -> bool:
        return self.asked > 0 and self.to_come <= 0

    @property
    def controls(self) -> tuple[str, ...]:
        """The arms other than FocusNet that have a finished trial."""
        return tuple(dict.fromkeys(arm for arm, _ in self.clips if arm != FOCUSNET))

    @property
    def best_control(self) -> str | None:
        """The control with the highest mean accuracy on select, which no claim is made from.

        None while trials are to come.
        """
        if not self.is_complete:
            return None
        done = self.trials[self.trials["status"] == "finished"]
        done = done[done["arm"].isin(self.controls)]
        if _SELECT not in done or done[_SELECT].dropna().empty:
            return None
        return str(done.groupby("arm", sort=False)[_SELECT].mean().idxmax())

    def seeds(self, arm: str) -> tuple[int, ...]:
        return tuple(sorted(seed for name, seed in self.clips if name == arm))

    def pooled(self) -> pd.DataFrame | None:
        """FocusNet's clips of all seeds in one table, with their ``seed``."""
        frames = [self.clips[FOCUSNET, seed].assign(seed=seed) for seed in self.seeds(FOCUSNET)]
        return pd.concat(frames, ignore_index=True) if frames else None

    def arm_of(self, against: str) -> str | None:
        """The arm behind one of ``COMPARISONS`` (or behind an arm); None if it was not trained."""
        if against == TEMPLATE:
            return TEMPLATE
        if against == BEST_CONTROL:
            return self.best_control
        return against if against in self.controls else None

    def counts(self, against: str) -> PairedCounts | None:
        """Right clips of FocusNet and of one of ``COMPARISONS`` (or of an arm).

        None while trials are to come, or where the other was not trained.
        """
        other = self.arm_of(against)
        if other is None or not self.is_complete:
            return None
        arm, stage = _training_of(other)
        return pair_by_seed(self._counts_of(FOCUSNET), self._counts_of(arm), stage)

    def accuracy_interval(self, arm: str) -> tuple[float, float, float]:
        """Macro accuracy on report and the ends of its interval over seeds and locations.

        ``template`` is FocusNet's own. The interval is NaN for fewer than two seeds.
        """
        owner, stage = _training_of(arm)
        counts = list(self._counts_of(owner).values())
        if not counts:
            return np.nan, np.nan, np.nan
        design = counts[0].design
        right = np.array([one.right(stage) for one in counts])
        accuracy = float((right @ design.weights).mean())
        if len(counts) < FEWEST_SEEDS:
            return accuracy, np.nan, np.nan
        # An accuracy is a difference from a model that is never right.
        low, high = interval(variance_components(right, design), bootstrap_effects(right, design))
        return accuracy, float(low), float(high)

    def _counts_of(self, arm: str) -> dict[int, LocationCounts]:
        """Counts of an arm by seed, in the order of the seeds."""
        return {seed: self._counts[arm, seed] for seed in self.seeds(arm)}

    @cached_property
    def _counts(self) -> dict[tuple[str, int], LocationCounts]:
        return {key: count_by_location(clips) for key, clips in self.clips.items()}


def _training_of(arm: str) -> tuple[str, str]:
    """The arm and the stage of a training; ``template`` is that of FocusNet."""
    return (FOCUSNET, TEMPLATE) if arm == TEMPLATE else (arm, FOCUS)


def read_confirmation(folder: Path, trials: pd.DataFrame, asked: int) -> Confirmation:
    """Read the predictions of ``trials``, the rows of one winner's confirmation."""
    clips: dict[tuple[str, int], pd.DataFrame] = {}
    problems = []
    for _, trial in trials[trials["status"] == "finished"].iterrows():
        name = str(trial["trial"])
        try:
            own = read_clips(folder, name)
        except PredictionsError as error:
            problems.append(str(error))
            continue
        if clips and set(own["filename"]) != set(next(iter(clips.values()))["filename"]):
            problems.append(f"predictions/{name}.parquet has other clips than those before it")
            continue
        clips[str(trial["arm"]), int(trial["seed"])] = own
    return Confirmation(trials, clips, asked, tuple(problems))
