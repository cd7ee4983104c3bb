"""Reads a study's results folder into data frames, whatever version of the study wrote it.

A study may be running, interrupted or partly failed: only ``space.yaml`` must be there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.inference.comparisons import Claims, study_claims
from analysis.inference.confirmation import (
    REPORT,
    Confirmation,
    current_and_former,
    read_confirmation,
)
from analysis.inference.plan import ConfirmationPlan, read_plan
from analysis.stratum import Stratum, is_same, row_of, winner_names
from analysis.study_frames import StudyFrames
from analysis.tables.parameters import Parameter, read_parameters, show
from analysis.tables.predictions import PredictionsError, read_clips
from focusnet.arms import FOCUSNET
from focusnet.statistics.cells import Locations
from focusnet.winner import SEARCH, TableWinner, table_winners

SPACE = "space.yaml"
# Columns that the tables have even where a study has just begun and has written none yet.
_TRIAL_COLUMNS = (
    "trial",
    "arm",
    "seed",
    "status",
    "error",
    "phase",
    "winner",
    "judged_on",
    "look",
    "tuning",
)
_EPOCH_COLUMNS = ("trial", "stage", "epoch", "epochs")


class NotAStudy(Exception):
    """The folder holds no study that can be read; the message says why."""


@dataclass(frozen=True)
class Study(StudyFrames):
    """A study's space, tables (see ``StudyFrames``) and provenance."""

    folder: Path
    space: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    provenance: dict[str, Any]
    plan: ConfirmationPlan
    strata: tuple[Stratum, ...] = ()

    @property
    def name(self) -> str:
        return str(self.space.get("name", self.folder.name))

    @property
    def search(self) -> dict[str, Any]:
        return dict(self.space["search"])

    @property
    def metric(self) -> str:
        """The metric that the search maximised."""
        return str(self.search["metric"])

    @property
    def stratify(self) -> str | None:
        return self.search.get("stratify")

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that each stratum's search varied, by dotted path."""
        every = read_parameters(self.space["space"])
        return {path: one for path, one in every.items() if path != self.stratify}

    def trials_asked(self, stratum: Any) -> int:
        """Trials that the study asks for in a stratum's search."""
        trials = self.search.get("trials")
        if isinstance(trials, Mapping):
            trials = trials.get(stratum, trials.get(str(stratum)))
        if trials is None:  # a grid
            trials = math.prod(parameter.size for parameter in self.parameters.values())
        return int(trials[stratum] if isinstance(trials, dict) else trials)

    @property
    def control_arms(self) -> tuple[str, ...]:
        """The arms beside FocusNet that the study asks for."""
        return tuple((self.space.get("controls") or {}).get("arms") or ())

    @property
    def tuned_arms(self) -> tuple[str, ...]:
        """The arms with a search of their own, FocusNet first."""
        return (FOCUSNET, *((self.space.get("controls") or {}).get("search") or {}))

    def arms_asked(self, phase: str, stratum: Any) -> dict[str, int]:
        """Trials per arm that the study asks for in a stratum's ``controls`` or ``confirm``.

        Where looks are planned, up to the current look; controls follow a gain only.
        """
        if phase == "controls":
            seeds = len((self.space.get(phase) or {}).get("seeds") or [])
            return dict.fromkeys(self.control_arms, seeds) if seeds else {}
        seeds = self.plan.seeds(stratum, self.plan.current_look)
        controls = () if self.plan.are_planned else self.control_arms
        return dict.fromkeys((FOCUSNET, *controls), seeds) if seeds else {}

    def of_stratum(self, value: Any) -> pd.DataFrame:
        """All trials of a stratum, whatever their phase and arm."""
        if self.stratify is None or self.stratify not in self.trials:
            return self.trials
        column = self.trials[self.stratify]
        return self.trials[column.isna() if value is None else column == value]

    def resources(self, name: str) -> float:
        """Number of ``cpu`` or ``gpu`` that a trial occupies."""
        return float((self.space.get("resources") or {}).get(name) or 0)

    @property
    def is_judged(self) -> bool:
        """Whether fresh seeds show an effect of FocusNet, claimed or not."""
        return self.claims.template.average is not None

    @property
    def confirmations(self) -> dict[Any, Confirmation]:
        """The confirmation of each stratum, by its value."""
        return {stratum.value: stratum.confirmation for stratum in self.strata}

    @cached_property
    def claims(self) -> Claims:
        """FocusNet against every other arm, with verdicts."""
        return study_claims(self.confirmations, self.plan, self.control_arms)

    @property
    def has_student(self) -> bool:
        """Whether its trials train a student."""
        trial = self.space.get("trial") or {}
        searched = any(path.startswith("student.") for path in self.space["space"])
        return searched or trial.get("student") is not None

    @cached_property
    def student_claims(self) -> Claims | None:
        """As ``claims``, of the students; None without any."""
        if not self.has_student:
            return None
        return study_claims(self.confirmations, self.plan, self.control_arms, "student")

    @property
    def labels(self) -> dict[Any, str]:
        """The strata's names by their values."""
        return {stratum.value: stratum.label for stratum in self.strata}

    @property
    def winners(self) -> tuple[Stratum, ...]:
        """The strata that have a winner."""
        return tuple(stratum for stratum in self.strata if stratum.winner is not None)

    @property
    def largest(self) -> Stratum | None:
        """The stratum with the most data, of those whose winner has predictions."""
        ready = [stratum for stratum in self.winners if stratum.any_clips is not None]
        if all(isinstance(stratum.value, int | float) for stratum in ready):
            ready.sort(key=lambda stratum: stratum.value)
        return ready[-1] if ready else None


def is_study(folder: Path) -> bool:
    """Whether ``folder`` holds the results of a study."""
    return (folder / SPACE).is_file()


def read_study(folder: Path) -> Study:
    """Read the results that ``folder`` has so far.

    Raises:
        NotAStudy: there is no study in ``folder``, or one of its files cannot be read.
    """
    if not folder.is_dir():
        raise NotAStudy(f"{folder}: there is no such folder; give one such as results/demo")
    if not is_study(folder):
        inside = sorted(path.parent.name for path in folder.glob(f"*/{SPACE}"))
        hint = f" (it holds the studies: {', '.join(inside)})" if inside else ""
        raise NotAStudy(
            f"{folder}: not the results of a study, because it has no {SPACE}{hint}; give a "
            "folder such as results/demo"
        )
    try:
        space = yaml.safe_load((folder / SPACE).read_text(encoding="utf-8"))
        provenance_path = folder / "provenance.json"
        provenance = (
            json.loads(provenance_path.read_text(encoding="utf-8"))
            if provenance_path.is_file()
            else {}
        )
        stratify = space["search"].get("stratify")
        values: tuple[Any, ...] = (None,)
        if stratify is not None:
            values = read_parameters(space["space"])[stratify].values
        study = Study(
            folder=folder,
            space=space,
            trials=_read_table(folder / "trials.parquet", _TRIAL_COLUMNS),
            epochs=_read_table(folder / "epochs.parquet", _EPOCH_COLUMNS),
            provenance=provenance,
            plan=read_plan(space, values, folder),
        )
        chosen = {"select": table_winners(study.trials, space)}
        if study.plan.cross_fit:
            chosen[REPORT] = table_winners(study.trials, space, REPORT)
        strata: list[Stratum] = []
        locations: Locations | None = None
        for value in values:
            strata.append(_read_stratum(study, value, chosen, locations))
            locations = strata[-1].confirmation.locations
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotAStudy(f"{folder}: its files cannot be read ({reason})") from error
    return replace(study, strata=tuple(strata))


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    for name in columns:
        if name not in table:
            table[name] = pd.Series(dtype=object)
    if "phase" in columns:  # without one, the study is older than the other phases
        table["phase"] = table["phase"].astype(object).fillna(SEARCH)
    return table


def _read_stratum(
    study: Study,
    value: Any,
    chosen: Mapping[str, Sequence[TableWinner]],
    locations: Locations | None,
) -> Stratum:
    every = study.of_stratum(value)
    label = "all trials"
    if study.stratify is not None:
        label = f"{study.stratify.rpartition('.')[2]} {show(value)}"
    # The searches of control arms are part of the phase controls.
    searched = every[(every["phase"] == SEARCH) | (every["tuning"] == True)]  # noqa: E712
    trials = searched[searched["arm"] == FOCUSNET]
    choices = {
        half: one for half, own in chosen.items() for one in own if is_same(one.stratum, value)
    }
    choice = choices.get("select")
    winner = None if choice is None else row_of(choice)
    clips, problem = None, None
    if choice is not None and winner is not None:
        try:
            if choice.row is None:
                raise PredictionsError("it was never trained in the search")
            clips = read_clips(study.folder, str(winner["trial"]))
        except PredictionsError as error:
            problem = str(error)
    confirmed = every[every["phase"] == "confirm"]
    names = winner_names(study.plan, value, choices)
    own, former = current_and_former(confirmed, names, study.tuned_arms[1:])
    plan = study.plan
    return Stratum(
        value,
        label,
        trials,
        winner,
        clips,
        problem,
        controls=every[(every["phase"] == "controls") & every["winner"].isin(list(names.values()))],
        confirmation=read_confirmation(
            study.folder,
            own,
            former,
            asked=plan.seeds(value, plan.current_look),
            last_look=max(plan.looks_taken, 1) if plan.are_planned else None,
            locations=locations,
        ),
        winner_names=names,
        searches={arm: searched[searched["arm"] == arm] for arm in study.tuned_arms},
        choice=choice,
    )


def value_of(trial: pd.Series | None, name: str) -> float:
    """A metric of a trial; NaN where it has none yet."""
    value = None if trial is None else trial.get(name)
    return math.nan if value is None or pd.isna(value) else float(value)
