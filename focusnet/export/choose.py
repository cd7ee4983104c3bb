"""Chooses the trial to export from a study's result files.

It reads files only and imports no code of the study, which may have run elsewhere and with an
earlier version.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd
import yaml

from focusnet.arms import FOCUSNET
from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.store import WEIGHTS
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml
from focusnet.winner import candidate_rows, winning_row


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

    @property
    def weights(self) -> Path:
        """The trial's weights file; ``choose`` has checked that it exists."""
        return self.results / "trials" / self.id / WEIGHTS

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scenes, in the order of the logits."""
        return tuple(self.result["classes"])

    def predictions(self) -> pd.DataFrame:
        """Read the logits of the test clips, by stage and half."""
        return pd.read_parquet(self.results / "predictions" / f"{self.id}.parquet")


def choose(results: Path, *, stratum: str | None = None, trial: str | None = None) -> ChosenTrial:
    """Choose the winner of a study's stratum, or the trial named ``trial``.

    The winner is the finished trial of the search with the highest value of the study's metric.
    ``stratum`` is a value of the parameter that the study is stratified by, such as ``"25"``; a
    study with a single stratum does not need it.

    Raises:
        ConfigError: there is no such study, stratum or trial.
        DataError: a file of the study cannot be read, or the trial's weights are missing.
    """
    try:
        space = yaml.safe_load((results / "space.yaml").read_text(encoding="utf-8"))
        table = pd.read_parquet(results / "trials.parquet")
        name, search = str(space["name"]), space["search"]
        metric, stratify = str(search["metric"]), search.get("stratify")
    except FileNotFoundError as error:
        missing = Path(error.filename or results).name
        raise ConfigError(
            f"{results}: has no {missing}, so it is not a study's folder (such as results/focus)"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{results}: the study's files cannot be read: {error}") from None
    finished = table[table["status"] == "finished"]
    row, tried = _row(results, finished, metric, stratify, stratum, trial)
    settings, result = _trial(results, str(row["trial"]))
    # Studies of the first versions have neither column.
    missing_column = pd.Series(dtype=str, index=table.index)
    repeats = table.get("winner", missing_column) == row["trial"]
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
        settings, result = _trial(results, name)
        chosen.append(replace(winner, id=name, row=row, trial=settings, result=result, tried=0))
    return chosen


def _trial(results: Path, name: str) -> tuple[TrialConfig, ResultFile]:
    """Read settings and result of a trial, and check that its weights are there."""
    folder = results / "trials" / name
    if not (folder / WEIGHTS).is_file():
        kept = sorted(path.parent.name for path in results.glob(f"trials/*/{WEIGHTS}"))
        raise DataError(
            f"{folder}: has no {WEIGHTS}; a study keeps the weights of its winners and, with "
            "confirm.keep_weights, of their trainings with fresh seeds; trials with weights: "
            f"{', '.join(kept) or 'none'}"
        )
    try:
        settings = validate(TrialConfig, read_yaml(folder / "config.yaml"), str(folder))
        return settings, json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot be read: {error}") from None


def _row(
    results: Path,
    finished: pd.DataFrame,
    metric: str,
    stratify: str | None,
    stratum: str | None,
    trial: str | None,
) -> tuple[pd.Series, int]:
    """The trial's row, and the number of trials that it was chosen from."""
    if trial is not None:
        named = finished[finished["trial"] == trial]
        if named.empty:
            raise ConfigError(f"--trial: {results} has no finished trial '{trial}'")
        return named.iloc[0], 0
    candidates = candidate_rows(finished, metric)
    if candidates.empty:
        raise ConfigError(f"{results}: no trial of its search is finished yet")
    if stratify is not None:
        if stratify not in candidates:
            raise DataError(f"{results / 'trials.parquet'}: has no column {stratify}")
        values = candidates[stratify].map(_text)
        strata = sorted(values.unique(), key=lambda value: (len(value), value))
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
        candidates = candidates[values == wanted]
    elif stratum is not None:
        raise ConfigError(f"{results}: has one search for all; leave the choice of a stratum out")
    return winning_row(candidates, metric), len(candidates)


def _text(value: Any) -> str:
    """A stratum as a person writes it; a column with missing values holds 25 as 25.0."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
