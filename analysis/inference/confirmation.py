"""Reads a stratum's confirmation: its winners and their controls, trained again with fresh seeds.

The winner of a search looks good because it was picked for that. So it and its controls are
trained again with seeds that the search has not used, and judged on the half of the test locations
that it was not chosen on. Only these trials support a claim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.tables.predictions import (
    FOCUS,
    STAGES,
    STUDENT,
    TEMPLATE,
    PredictionsError,
    paired_clips,
)
from focusnet.arms import FOCUSNET
from focusnet.statistics.cells import HALVES, Locations, location_accuracies, locations_of
from focusnet.statistics.pooled import Floats

Network = Literal["teacher", "student"]  # what is compared: second stages, or students
REPORT = "report"
ENDED = ("finished", "failed")


@dataclass(frozen=True)
class Training:
    """A finished trial with a fresh seed.

    Attributes:
        half: number of the half that it is judged on, see ``cells.HALVES``.
        accuracies: by stage, (locations,) in points.
        clips: its predictions on that half, see ``predictions.paired_clips``.
    """

    half: int
    accuracies: Mapping[str, Floats]
    clips: pd.DataFrame


@dataclass(frozen=True)
class Confirmation:
    """A stratum's trials with fresh seeds.

    Attributes:
        trials: rows in ``trials.parquet`` of the current winners and their controls.
        former: rows of earlier winners, which count for nothing.
        trainings: of ``trials``, the finished ones by arm and seed.
        locations: of the test split; None without any training.
        asked: number of seeds that the plan asks for by the current look.
        problems: predictions that cannot be read.
    """

    trials: pd.DataFrame
    former: pd.DataFrame
    trainings: Mapping[tuple[str, int], Training]
    locations: Locations | None
    asked: int
    problems: tuple[str, ...] = field(default=())

    def ended(self, arm: str) -> int:
        """Trials of an arm that have finished or failed for good."""
        own = self.trials[self.trials["arm"] == arm]
        return int(own["status"].isin(ENDED).sum())

    def to_come(self, arm: str = FOCUSNET) -> int:
        """Trials of an arm that have not ended yet."""
        return max(self.asked - self.ended(arm), 0)

    def arms(self, network: Network = "teacher") -> tuple[str, ...]:
        """The arms that have a finished trial with a teacher, or with a student."""
        found = (
            arm
            for (arm, _), training in self.trainings.items()
            if stage_of(network) in training.accuracies
        )
        return tuple(dict.fromkeys(found))

    def seeds(self, arm: str) -> tuple[int, ...]:
        return tuple(sorted(seed for name, seed in self.trainings if name == arm))

    def judged_on(self, seeds: Sequence[int]) -> NDArray[np.int64]:
        """(seeds,) numbers of the halves that FocusNet's trainings are judged on."""
        halves = [self.trainings[FOCUSNET, seed].half for seed in seeds]
        return np.array(halves, dtype=np.int64)

    def cells(self, arm: str, seeds: Sequence[int], network: Network = "teacher") -> Floats:
        """(1, seeds, locations) accuracies in points; see ``training_of``."""
        owner, stage = training_of(arm, network)
        rows = [self.trainings[owner, seed].accuracies[stage] for seed in seeds]
        return np.array(rows, dtype=np.float64)[None]

    def pooled(self, network: Network = "teacher") -> pd.DataFrame | None:
        """Predictions of FocusNet and its template on the clips of all seeds, with their ``seed``.

        Of students, those that FocusNet and the template have taught. None without any.
        """
        frames = [
            self._side_by_side(seed, network).assign(seed=seed) for seed in self.pairs(network)
        ]
        return pd.concat(frames, ignore_index=True) if frames else None

    def pairs(self, network: Network = "teacher") -> tuple[int, ...]:
        """Seeds of which FocusNet and its template, or the students of both, are there."""
        seeds = self.seeds(FOCUSNET)
        if network == "teacher":
            return seeds
        both = FOCUSNET, TEMPLATE
        return tuple(seed for seed in seeds if all(self._has_student(arm, seed) for arm in both))

    def _has_student(self, arm: str, seed: int) -> bool:
        training = self.trainings.get((arm, seed))
        return training is not None and STUDENT in training.accuracies

    def _side_by_side(self, seed: int, network: Network) -> pd.DataFrame:
        clips = self.trainings[FOCUSNET, seed].clips
        if network == "teacher":
            return clips
        own = clips.drop(columns=[*STAGES]).rename(columns={STUDENT: FOCUS})
        other = self.trainings[TEMPLATE, seed].clips[["filename", STUDENT]]
        return own.merge(other.rename(columns={STUDENT: TEMPLATE}), on="filename")


def training_of(arm: str, network: Network = "teacher") -> tuple[str, str]:
    """The arm and the stage of a training.

    As a teacher, ``template`` is that of FocusNet's trials. As a student, it is the student of the
    arm of this name, which the template has taught.
    """
    if network == "student":
        return arm, STUDENT
    return (FOCUSNET, TEMPLATE) if arm == TEMPLATE else (arm, FOCUS)


def stage_of(network: Network) -> str:
    """The stage that a network's comparisons are about."""
    return STUDENT if network == "student" else FOCUS


def current_and_former(
    trials: pd.DataFrame, winners: Mapping[str, str], tuned: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a stratum's confirmation that judge its current winners, and the others.

    Args:
        trials: rows of the phase ``confirm``.
        winners: names of the current winners, by the half that each was chosen on.
        tuned: arms with a search of their own, whose trials carry their own winner's name. They
            belong to the current winners if they share seeds with them.
    """
    halves = trials["judged_on"].astype(object).where(trials["judged_on"].notna(), REPORT)
    own = pd.Series(False, index=trials.index)
    for half, name in winners.items():
        other = "select" if half == REPORT else REPORT
        own |= (trials["winner"] == name) & (halves == other)
    seeds = set(trials.loc[own & (trials["arm"] == FOCUSNET), "seed"])
    own |= trials["arm"].isin(list(tuned)) & trials["seed"].isin(seeds)
    return trials[own], trials[~own]


def read_confirmation(
    folder: Path,
    trials: pd.DataFrame,
    former: pd.DataFrame,
    *,
    asked: int,
    last_look: int | None = None,
    locations: Locations | None = None,
) -> Confirmation:
    """Read the predictions of ``trials``.

    Args:
        asked: number of seeds that the plan asks for by the current look.
        last_look: trials of later looks are not read, because their look is not complete; None:
            all are read.
        locations: of other strata, which must be the same; None: those of the first trial.
    """
    trainings: dict[tuple[str, int], Training] = {}
    problems = []
    done = trials[trials["status"] == "finished"]
    if last_look is not None:
        done = done[pd.to_numeric(done["look"]).fillna(1) <= last_look]
    for _, trial in done.iterrows():
        try:
            training, locations = _read_training(folder, trial, locations)
        except PredictionsError as error:
            problems.append(str(error))
        else:
            trainings[str(trial["arm"]), int(trial["seed"])] = training
    return Confirmation(trials, former, trainings, locations, asked, tuple(problems))


def _read_training(
    folder: Path, trial: pd.Series, locations: Locations | None
) -> tuple[Training, Locations]:
    name = f"predictions/{trial['trial']}.parquet"
    half = half_of(trial)
    try:
        predictions = pd.read_parquet(folder / name)
        clips = paired_clips(predictions, half)
        there = set(predictions["stage"])
        known = locations_of(predictions) if locations is None else locations
    except FileNotFoundError:
        raise PredictionsError(f"{name} is missing") from None
    except (PredictionsError, OSError, ValueError) as error:
        raise PredictionsError(f"{name} cannot be read: {error}") from error
    try:
        accuracies = {
            stage: location_accuracies(predictions, stage, known)
            for stage in (*STAGES, STUDENT)  # of both halves
            if stage in there
        }
    except ValueError:
        raise PredictionsError(f"{name} has other clips than those before it") from None
    return Training(HALVES.index(half), accuracies, clips), known


def half_of(trial: pd.Series | Mapping[str, Any]) -> str:
    """The half that a confirmation trial is judged on; studies begun earlier know one only."""
    half = trial.get("judged_on")
    return REPORT if half is None or pd.isna(half) else str(half)
