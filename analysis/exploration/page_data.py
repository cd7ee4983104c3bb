"""Collects all that the page to explore holds: trials, curves, confusion matrices and maps.

Every value is one of ``trials.parquet``, ``epochs.parquet`` or a trial's ``result.json``, rounded;
accuracies are in percent and gains in points. Missing values are None.
"""

import json
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.exploration.columns import numbers, on_axis, trial_columns
from analysis.exploration.maps import estimate_maps
from analysis.read_study import Stratum, Study
from analysis.tables.parameters import show
from focusnet.winner import SEARCH

_CURVES = ("select/macro_accuracy", "select/log_loss", "train/loss")  # after the stage's name
_LONGEST_ERROR = 2000  # characters


def explore_data(study: Study) -> dict[str, Any]:
    """All that the page holds, ready for JSON.

    Returns:
        ``columns`` of the trials, whose searched ``parameters`` are named; ``strata`` with their
        winners; ``details`` of each trial, which point into ``curves``, ``matrices`` and
        ``scenes``; ``maps``: estimates of ``metric`` over two parameters; ``winners``: trials.
    """
    curves, matrices, scenes = _Pool(), _Pool(), _Pool()
    recorded = _curves(study, curves)
    details = []
    for trial, error in zip(study.trials["trial"], study.trials["error"], strict=True):
        result = _result(study, str(trial))
        confusions = result.get("confusion") or {}
        details.append(
            {
                "error": None if pd.isna(error) else str(error)[:_LONGEST_ERROR],
                "curves": recorded.get(trial, {}),
                "confusions": {name: matrices.add(one) for name, one in confusions.items()},
                "scenes": scenes.add(result.get("classes") or []),
            }
        )
    return {
        "columns": [asdict(column) for column in trial_columns(study)],
        "parameters": list(study.parameters),
        "metric": study.metric,
        "stratify": study.stratify,
        "strata": [_stratum(study, stratum) for stratum in study.strata],
        "winners": _winners(study),
        "details": details,
        "curves": curves.values,
        "matrices": matrices.values,
        "scenes": scenes.values,
        "maps": list(estimate_maps(study)),
    }


class _Pool:
    """Values by number; equal ones are held once, because many trials share a template."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, value: Any) -> int:
        return self._numbers.setdefault(json.dumps(value), len(self._numbers))

    @property
    def values(self) -> list[Any]:
        return [json.loads(one) for one in self._numbers]


def _stratum(study: Study, stratum: Stratum) -> dict[str, Any]:
    winner = {} if stratum.choice is None else stratum.choice.parameters
    return {
        "value": show(stratum.value),
        "label": stratum.label,
        "winner": {path: on_axis(one, winner[path]) for path, one in study.parameters.items()}
        if winner
        else None,
    }


def _winners(study: Study) -> list[int]:
    """Places of the winners in the table; a winner need not have been trained in the search."""
    names = {stratum.winner["trial"] for stratum in study.strata if stratum.winner is not None}
    won = study.trials["trial"].isin(names) & (study.trials["phase"] == SEARCH)
    return [place for place, one in enumerate(won) if one]


def _result(study: Study, trial: str) -> dict[str, Any]:
    """What ``result.json`` of a trial holds; nothing of one that has not finished."""
    try:
        path = study.folder / "trials" / trial / "result.json"
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _curves(study: Study, pool: _Pool) -> dict[str, dict[str, int]]:
    """The number of each trial's curves in ``pool``, by stage."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (trial, stage), rows in study.epochs.groupby(["trial", "stage"], sort=False):
        curve: dict[str, Any] = {"epoch": numbers(rows, "epoch", 0)}
        for name in _CURVES:
            is_share = name.endswith("accuracy")
            values = numbers(rows, f"{stage}/{name}", 2 if is_share else 4, 100 if is_share else 1)
            if any(value is not None for value in values):
                curve[name] = values
        found[trial][str(stage)] = pool.add(curve)
    return dict(found)
