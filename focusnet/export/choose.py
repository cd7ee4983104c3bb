"""Chooses the trial to export from a study's result files.

It reads files only and imports no code of the study, which may have run elsewhere and with an
earlier version.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import yaml

from focusnet.arms import FOCUSNET
from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.store import STUDENT_WEIGHTS, WEIGHTS
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml
from focusnet.winner import (
    BEST_OBSERVED,
    NEVER_TRAINED,
    TableWinner,
    candidate_rows,
    table_winners,
)

_FRESH = "with a fresh seed, in the study's confirmation."


class ResultFile(TypedDict):
    """The parts of a trial's ``result.json`` that an export needs."""

    classes: list[str]
    clips: dict[str, int]  # train, select, report
    metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class ChosenTrial:
    """A finished trial to export.

    Attributes:
        study: name of the study.
        results: folder of the study.
        id: of the trial.
        row: the trial's row of ``trials.parquet``.
        trial: all settings of the trial.
        result: its ``result.json``.
        metric: what the search maximised.
        tried: number of trials that it was chosen from; 0 if the user named it, or if it is a
            training with a fresh seed.
        confirm: rows of the trials that repeat it, and its controls, with fresh seeds.
        chosen: how it was chosen, if it is more than the best of those tried; a sentence.
    """

    study: str
    results: Path
    id: str
    row: pd.Series
    trial: TrialConfig
    result: ResultFile
    metric: str
    tried: int
    confirm: pd.DataFrame
    chosen: str = ""
    file: str = WEIGHTS

    @property
    def weights(self) -> Path:
        """The trial's weights file; ``choose`` has checked that it exists."""
        return self.results / "trials" / self.id / self.file

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scenes, in the order of the logits."""
        return tuple(self.result["classes"])

    def predictions(self) -> pd.DataFrame:
        """Read the logits of the test clips, by stage and half."""
        return pd.read_parquet(self.results / "predictions" / f"{self.id}.parquet")


def choose(
    results: Path, *, stratum: str | None = None, trial: str | None = None, file: str = WEIGHTS
) -> ChosenTrial:
    """Choose the winner of a study's stratum, or the trial named ``trial``.

    The winner is the one that the study names, by the rule of its setting ``search.winner``. If the
    search has not trained it, or has not kept that trial's weights, its first training with a fresh
    seed that has weights stands for it. ``stratum`` is a value of the parameter that the study is
    stratified by, such as ``"25"``; a study with a single stratum does not need it. ``file`` is
    that of the weights to export: the second stage's or the student's.

    Raises:
        ConfigError: there is no such study, stratum or trial.
        DataError: a file of the study cannot be read, or the trial's weights are missing.
    """
    try:
        space = yaml.safe_load((results / "space.yaml").read_text(encoding="utf-8"))
        table = pd.read_parquet(results / "trials.parquet")
        name, search = str(space["name"]), space["search"]
        metric = str(search["metric"])
    except FileNotFoundError as error:
        missing = Path(error.filename or results).name
        raise ConfigError(
            f"{results}: has no {missing}, so it is not a study's folder (such as results/focus)"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{results}: the study's files cannot be read: {error}") from None
    finished = table[table["status"] == "finished"]
    if trial is not None:
        row, tried, chosen = _named(results, finished, trial), 0, ""
        followed: str | None = trial
    else:
        winner = _winner(results, table, space, stratum)
        row, followed = _row(results, winner, file), winner.name
        tried = winner.finished if winner.rule == BEST_OBSERVED else 0
        chosen = _how(winner, row, metric)
    settings, result = _trial(results, str(row["trial"]), file)
    # Studies of the first versions have neither column.
    missing_column = pd.Series(dtype=str, index=table.index)
    repeats = table.get("winner", missing_column) == followed
    repeats &= table.get("phase", missing_column) == "confirm"
    return ChosenTrial(
        study=name,
        results=results,
        id=str(row["trial"]),
        row=row,
        trial=settings,
        result=result,
        metric=metric,
        tried=tried,
        confirm=table[repeats & (table["status"] == "finished")],
        chosen=chosen,
        file=file,
    )


def choose_confirmed(results: Path, *, stratum: str | None = None) -> list[ChosenTrial]:
    """Choose the trials that trained a stratum's winner again with fresh seeds, by seed.

    Raises:
        ConfigError: as in ``choose``; or the winner has not been trained again.
        DataError: as in ``choose``; or the study did not keep the weights.
    """
    winner = choose(results, stratum=stratum)
    rows = winner.confirm[winner.confirm["arm"] == FOCUSNET].sort_values("seed")
    if rows.empty:
        raise ConfigError(f"{results}: {winner.id} has not been trained again with fresh seeds")
    chosen = []
    for _, row in rows.iterrows():
        name = str(row["trial"])
        settings, result = _trial(results, name, WEIGHTS)
        member = replace(winner, id=name, row=row, trial=settings, result=result)
        chosen.append(replace(member, tried=0, chosen=""))
    return chosen


def _trial(results: Path, name: str, file: str) -> tuple[TrialConfig, ResultFile]:
    """Read settings and result of a trial, and check that its weights are there."""
    folder = results / "trials" / name
    if not (folder / file).is_file():
        kept = sorted(path.parent.name for path in results.glob(f"trials/*/{file}"))
        why = "a study keeps the weights of its winners and, with confirm.keep_weights, of their "
        why += "trainings with fresh seeds, but a trial with a student that took its second stage "
        why += "from the store has none"
        if file == STUDENT_WEIGHTS:
            why = "only trials with trial.student train a student"
        raise DataError(
            f"{folder}: has no {file}; {why}; trials with it: {', '.join(kept) or 'none'}"
        )
    try:
        settings = validate(TrialConfig, read_yaml(folder / "config.yaml"), str(folder))
        return settings, json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot be read: {error}") from None


def _named(results: Path, finished: pd.DataFrame, trial: str) -> pd.Series:
    """The row of the trial that the user has named."""
    named = finished[finished["trial"] == trial]
    if named.empty:
        raise ConfigError(f"--trial: {results} has no finished trial '{trial}'")
    return named.iloc[0]


def _winner(
    results: Path, table: pd.DataFrame, space: Mapping[str, Any], stratum: str | None
) -> TableWinner:
    """The winner of a stratum, which need not be named if there is one only."""
    metric, stratify = str(space["search"]["metric"]), space["search"].get("stratify")
    if candidate_rows(table, metric).empty:
        raise ConfigError(f"{results}: no trial of its search is finished yet")
    if stratify is not None and stratify not in table:
        raise DataError(f"{results / 'trials.parquet'}: has no column {stratify}")
    try:
        winners = {_text(one.stratum): one for one in table_winners(table, space)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{results}: the study's files cannot be read: {error!r}") from None
    if stratify is None:
        if stratum is not None:
            raise ConfigError(
                f"{results}: has one search for all; leave the choice of a stratum out"
            )
        return next(iter(winners.values()))
    strata = sorted(winners, key=lambda value: (len(value), value))
    if stratum is None and len(strata) > 1:
        raise ConfigError(
            f"{results}: has a winner for each {stratify}; choose one with --subset: "
            f"{', '.join(strata)}"
        )
    wanted = strata[0] if stratum is None else stratum
    if wanted not in strata:
        raise ConfigError(
            f"{results}: {stratify} must be one of {', '.join(strata)}, received '{wanted}'"
        )
    return winners[wanted]


def _row(results: Path, winner: TableWinner, file: str) -> pd.Series:
    """The winner's trial of the search, or its first training with a fresh seed, with weights."""
    rows = [] if winner.row is None else [winner.row]
    if winner.rule != BEST_OBSERVED:
        rows += [row for _, row in winner.repeats.iterrows()]
    for row in rows:
        if (results / "trials" / str(row["trial"]) / file).is_file():
            return row
    if rows:
        return rows[0]  # of which _trial says that it has no weights
    raise ConfigError(
        f"{results}: the winner is a {NEVER_TRAINED}, and no training with a fresh seed "
        "(confirm.seeds) has finished yet; export another trial by --trial ID"
    )


def _how(winner: TableWinner, row: pd.Series, metric: str) -> str:
    """How a winner by ``posterior_mean`` was chosen, and which training stands for it."""
    if winner.rule == BEST_OBSERVED:
        return ""
    text = (
        "Its settings are those that a Gaussian process, fitted to the trials of all searches of "
        f"the study, estimates best ({100 * winner.estimate:.1f} % by `{metric}`)."
    )
    if winner.row is not None and row["trial"] == winner.row["trial"]:
        return text
    if winner.row is None:
        return f"{text} The search has never trained them: this is their first training {_FRESH}"
    return f"{text} This is their first training {_FRESH}"


def _text(value: Any) -> str:
    """A stratum as a person writes it; a column with missing values holds 25 as 25.0."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
