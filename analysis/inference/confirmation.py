"""What fresh seeds say of a stratum's winner and its controls: predictions, effects, best control.

The winner of a search looks good because it was picked for that. So it is trained again, and the
controls beside it, with seeds that no search has seen; claims are made from these trials only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inference.claims import (
    FEWEST_SEEDS,
    FINAL_STAGE,
    TEMPLATE,
    PairedCounts,
    family_table,
)
from analysis.inference.seeds import Design, bootstrap_effects, interval, variance_components
from analysis.tables.predictions import PredictionsError, read_clips

FOCUSNET = "focusnet"  # the arm that is searched; the others are its controls
PLACEBO = "placebo"
REFERENCE = "reference"  # FocusNet with the settings of its paper
BEST_CONTROL = "best control"
COMPARISONS = (TEMPLATE, BEST_CONTROL, PLACEBO)
ARMS = {
    FOCUSNET: "FocusNet",
    "cross_entropy": "cross-entropy again",
    "label_smoothing": "label smoothing",
    "distillation": "self-distillation",
    REFERENCE: "FocusNet, paper's settings",
    PLACEBO: "FocusNet, placebo masks",
}
_SELECT = "focus/select/macro_accuracy"


@dataclass(frozen=True)
class Confirmation:
    """A stratum's trials with fresh seeds.

    Attributes:
        trials: their rows in ``trials.parquet``, of the winner of now only.
        clips: by arm and seed of the finished ones, see ``predictions.paired_clips``; on report.
        asked: how many trials there will be; 0 where the study has no confirmation.
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
        """The arms beside FocusNet of which a trial has finished."""
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
        """FocusNet's clips of all seeds, one below the other, with their ``seed``."""
        frames = [self.clips[FOCUSNET, seed].assign(seed=seed) for seed in self.seeds(FOCUSNET)]
        return pd.concat(frames, ignore_index=True) if frames else None

    def arm_of(self, against: str) -> str | None:
        """What one of ``COMPARISONS`` (or an arm) is in the files; None: not trained."""
        if against == TEMPLATE:
            return TEMPLATE
        if against == BEST_CONTROL:
            return self.best_control
        return against if against in self.controls else None

    def counts(self, against: str) -> PairedCounts | None:
        """FocusNet's right clips against those of one of ``COMPARISONS`` (or of an arm)."""
        other = self.arm_of(against)
        if other is None or not self.is_complete:
            return None
        owner = FOCUSNET if other == TEMPLATE else other
        seeds = tuple(seed for seed in self.seeds(FOCUSNET) if (owner, seed) in self.clips)
        if not seeds:
            return None
        stage = TEMPLATE if other == TEMPLATE else FINAL_STAGE
        return PairedCounts(
            seeds,
            self._design,
            np.array([self._right[FOCUSNET, seed, FINAL_STAGE] for seed in seeds]),
            np.array([self._right[owner, seed, stage] for seed in seeds]),
        )

    def accuracy_interval(self, arm: str) -> tuple[float, float, float]:
        """Macro accuracy on report and the ends of its interval over seeds and locations.

        ``template`` is FocusNet's own. The interval is NaN for fewer than two seeds.
        """
        owner = FOCUSNET if arm == TEMPLATE else arm
        stage = TEMPLATE if arm == TEMPLATE else FINAL_STAGE
        seeds = self.seeds(owner)
        if not seeds:
            return np.nan, np.nan, np.nan
        right = np.array([self._right[owner, seed, stage] for seed in seeds])
        accuracy = float((right @ self._design.weights).mean())
        if len(seeds) < FEWEST_SEEDS:
            return accuracy, np.nan, np.nan
        # The right clips less those of a model that has none: the same noise, the same interval.
        low, high = interval(
            variance_components(right, self._design), bootstrap_effects(right, self._design)
        )
        return accuracy, float(low), float(high)

    @cached_property
    def _design(self) -> Design:
        """Scenes and locations, the same for all trainings: ``read_confirmation`` sees to it."""
        sizes = _by_location(next(iter(self.clips.values()))).size()
        scene = pd.factorize(sizes.index.get_level_values(0))[0].astype(np.int64)
        return Design(scene, sizes.to_numpy(np.int64))

    @cached_property
    def _right(self) -> dict[tuple[str, int, str], NDArray[np.int64]]:
        """(locations,) right clips by arm, seed and stage."""
        found = {}
        for (arm, seed), clips in self.clips.items():
            by_location = _by_location(clips)
            for stage in (TEMPLATE, FINAL_STAGE):
                counts = by_location[f"{stage}_right"].sum()
                found[arm, seed, stage] = counts.to_numpy(np.int64)
        return found


def _by_location(clips: pd.DataFrame) -> Any:
    scene = clips["scene"].astype(str)
    right = {f"{s}_right": (clips[s].astype(str) == scene) for s in (TEMPLATE, FINAL_STAGE)}
    return clips.assign(**right).groupby([scene, clips["location"].astype(str)])


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
            problems.append(f"predictions/{name}.parquet is of other clips than those before it")
            continue
        clips[str(trial["arm"]), int(trial["seed"])] = own
    return Confirmation(trials, clips, asked, tuple(problems))


def effects(confirmations: Iterable[tuple[Any, Confirmation]]) -> pd.DataFrame:
    """Effect, interval, p-value and verdict of FocusNet against each of ``COMPARISONS``.

    Args:
        confirmations: each stratum's value and confirmation; all strata of the study, so that the
            correction is over those to come, too.

    Returns:
        See ``claims.effect_table``; a row a comparison and stratum, in their order, and
        ``control``, the arm behind ``against``.
    """
    confirmations = list(confirmations)
    to_come = sum(one.asked > 0 and not one.is_complete for _, one in confirmations)
    tables = []
    for against in COMPARISONS:
        strata = [(value, one.counts(against)) for value, one in confirmations]
        table = family_table(strata, (FOCUSNET, against), to_come=to_come)
        tables.append(table.assign(control=[one.arm_of(against) for _, one in confirmations]))
    return pd.concat(tables, ignore_index=True)


def label_of(arm: str) -> str:
    """An arm's name for people."""
    return ARMS.get(arm, arm)


def title_of(against: str, control: str | None = None) -> str:
    """One of ``COMPARISONS`` for people, with the arm behind the best control."""
    if against == BEST_CONTROL and control is not None:
        return f"{BEST_CONTROL}: {label_of(control)}"
    return {TEMPLATE: "its own template", PLACEBO: "placebo masks"}.get(against, against)
