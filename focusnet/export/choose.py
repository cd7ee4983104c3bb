"""A study's results as its files tell them, for what is made of a winner afterwards.

The files are read, not the code that wrote them: a study may have been run elsewhere, and by an
earlier version.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Chosen:
    """A finished trial that something is to be made of.

    Attributes:
        study: name of the study; ``results`` is its folder.
        id: of the trial; ``row`` is its line of ``trials.parquet``.
        trial: all its settings; ``result`` is its ``result.json``.
        metric: what the search maximised; ``tried`` says over how many trials, 0 where the trial
            was named, or trained again with a fresh seed.
        confirm: lines of the trials that repeat it, and its controls, with fresh seeds.
    """

    study: str
    results: Path
    id: str
    row: pd.Series
    trial: TrialConfig
    result: dict[str, Any]
    metric: str
    tried: int
    confirm: pd.DataFrame

    @property
    def weights(self) -> Path:
        """Its weights, which a study keeps of its winners, and of their repetitions if asked."""
        return self.results / "trials" / self.id / WEIGHTS

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.result["classes"])

    def predictions(self) -> pd.DataFrame:
        """Logits of the test clips, by stage and half."""
        return pd.read_parquet(self.results / "predictions" / f"{self.id}.parquet")


def choose(results: Path, *, stratum: str | None = None, trial: str | None = None) -> Chosen:
    """The winner of a study's stratum, or the trial called ``trial``.

    The winner is the finished trial of the search with the highest value of the metric that the
    study searched by. ``stratum`` is a value of the parameter that the study is stratified by, such
    as ``"25"``; it may be left out where there is one stratum only.

    Raises:
        ConfigError: no such study, stratum or trial.
        DataError: a file of the study cannot be read, or the weights are gone.
    """
    try:
        space = yaml.safe_load((results / "space.yaml").read_text(encoding="utf-8"))
        table = pd.read_parquet(results / "trials.parquet")
        name, search = str(space["name"]), space["search"]
        metric, stratify = str(search["metric"]), search.get("stratify")
    except FileNotFoundError as error:
        missing = Path(error.filename or results).name
        raise ConfigError(
            f"{results}: not the results of a study: has no {missing}; such as results/focus"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DataError(f"{results}: its files cannot be read: {error}") from None
    finished = table[table["status"] == "finished"]
    row, tried = _row(results, finished, metric, stratify, stratum, trial)
    settings, result = _trial(results, str(row["trial"]))
    follows = table.get("winner", pd.Series(dtype=str, index=table.index)) == row["trial"]
    phase = table.get("phase", pd.Series(dtype=str, index=table.index))
    return Chosen(
        study=name,
        results=results,
        id=str(row["trial"]),
        row=row,
        trial=settings,
        result=result,
        metric=metric,
        tried=tried,
        confirm=table[follows & (phase == "confirm") & (table["status"] == "finished")],
    )


def choose_confirmed(results: Path, *, stratum: str | None = None) -> list[Chosen]:
    """The trainings of a stratum's winner with fresh seeds, for an ensemble of them.

    Raises:
        ConfigError: as ``choose`` does; the winner was not trained again.
        DataError: as ``choose`` does; the study did not keep the weights.
    """
    winner = choose(results, stratum=stratum)
    rows = winner.confirm[winner.confirm["arm"] == "focusnet"].sort_values("seed")
    if rows.empty:
        raise ConfigError(f"{results}: {winner.id} was not trained again with fresh seeds (yet)")
    chosen = []
    for _, row in rows.iterrows():
        settings, result = _trial(results, str(row["trial"]))
        name = str(row["trial"])
        again = replace(winner, id=name, row=row, trial=settings, result=result, tried=0)
        chosen.append(again)
    return chosen


def _trial(results: Path, name: str) -> tuple[TrialConfig, dict[str, Any]]:
    """The settings and the result of a trial that has its weights."""
    folder = results / "trials" / name
    if not (folder / WEIGHTS).is_file():
        kept = sorted(path.parent.name for path in results.glob(f"trials/*/{WEIGHTS}"))
        raise DataError(
            f"{folder}: has no {WEIGHTS}; a study keeps those of its winners only, and with "
            "confirm.keep_weights those of their trainings with fresh seeds: "
            f"{', '.join(kept) or 'none are here'}"
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
    """The line of the trial, and among how many the search found it."""
    if trial is not None:
        named = finished[finished["trial"] == trial]
        if named.empty:
            raise ConfigError(f"--trial: {results} has no finished trial '{trial}'")
        return named.iloc[0], 0
    candidates = finished[finished["arm"] == "focusnet"]
    if "phase" in candidates:
        candidates = candidates[candidates["phase"] == "search"]
    if metric in candidates:
        candidates = candidates[candidates[metric].notna()]
    if candidates.empty or metric not in candidates:
        raise ConfigError(f"{results}: no trial of its search is finished yet")
    if stratify is not None:
        if stratify not in candidates:
            raise DataError(f"{results / 'trials.parquet'}: has no column {stratify}")
        values = candidates[stratify].map(_text)
        strata = sorted(values.unique(), key=lambda value: (len(value), value))
        if stratum is None and len(strata) > 1:
            raise ConfigError(
                f"{results}: has a winner for each {stratify}: choose one of {', '.join(strata)}"
            )
        wanted = strata[0] if stratum is None else stratum
        if wanted not in strata:
            raise ConfigError(
                f"{results}: {stratify} must be one of {', '.join(strata)}, received '{wanted}'"
            )
        candidates = candidates[values == wanted]
    elif stratum is not None:
        raise ConfigError(f"{results}: has one search for all; leave the choice of a stratum out")
    return candidates.loc[candidates[metric].idxmax()], len(candidates)


def _text(value: Any) -> str:
    """A stratum as a person writes it: a column with gaps holds 25 as 25.0."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)
