"""Reads a study's results folder into data frames, whatever version of the study wrote it.

A study may be running, interrupted or partly failed: only ``space.yaml`` must be there.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis.inference.confirmation import Confirmation, read_confirmation
from analysis.tables.parameters import Parameter, read_parameters, show
from analysis.tables.predictions import PredictionsError, read_clips
from focusnet.arms import FOCUSNET
from focusnet.winner import POSTERIOR_MEAN, SEARCH, TableWinner, table_winners

SPACE = "space.yaml"
# Columns that the tables have even where a study has just begun and has written none yet.
_TRIAL_COLUMNS = ("trial", "arm", "seed", "status", "error", "phase", "winner")
_EPOCH_COLUMNS = ("trial", "stage", "epoch", "epochs")


class NotAStudy(Exception):
    """The folder holds no study that can be read; the message says why."""


@dataclass(frozen=True)
class Stratum:
    """One independent search and the trials that followed it.

    Attributes:
        value: of the parameter that the study is stratified by; None in a study of one search.
        label: such as ``subset 25``.
        trials: of the search.
        winner: its row; of one that the search has never trained, its parameters alone.
        clips: the winner's predictions on report, see ``predictions.paired_clips``.
        problem: why a winner has no clips.
        controls: trials of the other arms with the search's seeds.
        confirmation: winner and controls, trained again with fresh seeds.
        choice: how the winner was chosen.
    """

    value: Any
    label: str
    trials: pd.DataFrame
    winner: pd.Series | None
    clips: pd.DataFrame | None
    problem: str | None
    controls: pd.DataFrame
    confirmation: Confirmation
    choice: TableWinner | None = None

    @property
    def is_estimated(self) -> bool:
        """Whether its winner is the setting that all trials together estimate best."""
        return self.choice is not None and self.choice.rule == POSTERIOR_MEAN

    @property
    def is_untried(self) -> bool:
        """Whether its winner was never trained in the search."""
        return self.choice is not None and self.choice.row is None

    @property
    def any_clips(self) -> pd.DataFrame | None:
        """Predictions of the winner's trial, or else of its trainings with fresh seeds."""
        return self.confirmation.pooled() if self.clips is None else self.clips

    @property
    def finished(self) -> int:
        return int((self.trials["status"] == "finished").sum())

    @property
    def tried(self) -> int:
        """Number of trials that the winner was picked from: stopped ones lost on select, too."""
        return int(self.trials["status"].isin(["finished", "stopped"]).sum())


@dataclass(frozen=True)
class Study:
    """A study's space, trials (one row each), epochs and provenance."""

    folder: Path
    space: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    provenance: dict[str, Any]
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
        """Trials that the study asks for in the search of ``stratum`` (its value)."""
        trials = self.search.get("trials")
        if trials is None:  # a grid
            trials = math.prod(parameter.size for parameter in self.parameters.values())
        return int(trials[stratum] if isinstance(trials, dict) else trials)

    def arms_asked(self, phase: str) -> dict[str, int]:
        """Trials per arm that the study asks for in a stratum's ``controls`` or ``confirm``."""
        seeds = len((self.space.get(phase) or {}).get("seeds") or [])
        arms = (self.space.get("controls") or {}).get("arms") or []
        names = [*([FOCUSNET] if phase == "confirm" else []), *arms]
        return dict.fromkeys(names, seeds) if seeds else {}

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
    def confirmed(self) -> tuple[Stratum, ...]:
        """The strata whose confirmation is complete: only of these claims can be made."""
        return tuple(stratum for stratum in self.strata if stratum.confirmation.is_complete)

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
        study = Study(
            folder=folder,
            space=space,
            trials=_read_table(folder / "trials.parquet", _TRIAL_COLUMNS),
            epochs=_read_table(folder / "epochs.parquet", _EPOCH_COLUMNS),
            provenance=provenance,
        )
        chosen = table_winners(study.trials, space)
        strata = tuple(_read_stratum(study, value, chosen) for value in _strata_values(study))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise NotAStudy(f"{folder}: its files cannot be read ({reason})") from error
    return replace(study, strata=strata)


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    for name in columns:
        if name not in table:
            table[name] = pd.Series(dtype=object)
    if "phase" in columns:  # without one, the study is older than the other phases
        table["phase"] = table["phase"].astype(object).fillna(SEARCH)
    return table


def _strata_values(study: Study) -> tuple[Any, ...]:
    if study.stratify is None:
        return (None,)
    return read_parameters(study.space["space"])[study.stratify].values


def _read_stratum(study: Study, value: Any, chosen: list[TableWinner]) -> Stratum:
    every = study.of_stratum(value)
    label = "all trials"
    if study.stratify is not None:
        label = f"{study.stratify.rpartition('.')[2]} {show(value)}"
    trials = every[(every["phase"] == SEARCH) & (every["arm"] == FOCUSNET)]
    choice = next((one for one in chosen if _is_same(one.stratum, value)), None)
    winner = None if choice is None else _row_of(choice)
    clips, problem = None, None
    followers = every.iloc[:0]  # trials that follow the current winner, not a former one
    if choice is not None and winner is not None:
        followers = every[every["winner"] == choice.name]
        try:
            if choice.row is None:
                raise PredictionsError("it was never trained in the search")
            clips = read_clips(study.folder, str(winner["trial"]))
        except PredictionsError as error:
            problem = str(error)
    return Stratum(
        value,
        label,
        trials,
        winner,
        clips,
        problem,
        controls=followers[followers["phase"] == "controls"],
        confirmation=read_confirmation(
            study.folder,
            followers[followers["phase"] == "confirm"],
            asked=sum(study.arms_asked("confirm").values()),
        ),
        choice=choice,
    )


def _is_same(in_table: Any, value: Any) -> bool:
    """Whether a table, in which null is NaN, means the stratum ``value``."""
    return bool(pd.isna(in_table)) if value is None else in_table == value


def _row_of(winner: TableWinner) -> pd.Series:
    """The winner's row; of one that the search has never trained, what is known without one."""
    if winner.row is not None:
        return winner.row
    return pd.Series({"trial": winner.name, "arm": FOCUSNET, **winner.parameters}, dtype=object)


def value_of(trial: pd.Series | None, name: str) -> float:
    """A metric of a trial; NaN where it has none yet."""
    value = None if trial is None else trial.get(name)
    return math.nan if value is None or pd.isna(value) else float(value)
