"""Columns of the page's table of trials, some of which are axes of its parallel coordinates.

Every value is of ``trials.parquet``, rounded; accuracies are in percent and gains in points.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.read_study import Study
from analysis.tables.parameters import Parameter, show
from analysis.tables.predictions import FOCUS, STUDENT, TEMPLATE
from focusnet.arms import ARMS, uses
from focusnet.config import short_names
from focusnet.winner import SEARCH

_PHASES = (SEARCH, "controls", "confirm")
_STATUSES = ("finished", "stopped", "failed", "running", "pending")
_STAGES = {TEMPLATE: "template %", FOCUS: "second stage %", STUDENT: "student %", "gain": "gain"}
_HALVES = ("select", "report")
_ACCURACIES = ("accuracy", "class/", "device/", "group/")  # fractions, shown in percent


@dataclass(frozen=True)
class Column:
    """A column of the table of trials, which may be an axis of the parallel coordinates.

    Attributes:
        key: its name in ``trials.parquet``.
        kind: ``choice`` holds one of ``order``, as text.
        values: one for each trial.
        half: of the test split, if it is measured on one.
        order: the values of a choice, in order.
        scale, range: of a searched range of numbers.
        is_axis: whether it is an axis.
        digits: decimals of a number; None shows it as it is.
    """

    key: str
    label: str
    kind: Literal["number", "choice", "text"]
    values: list[Any]
    half: str | None = None
    order: list[str] | None = None
    scale: Literal["linear", "log"] = "linear"
    range: list[float] | None = None
    is_axis: bool = False
    digits: int | None = None


def trial_columns(study: Study) -> Iterator[Column]:
    """The columns, in order; metrics that no trial has are left out."""
    trials = study.trials
    if study.stratify is not None:
        label = study.stratify.rpartition(".")[2]
        yield _choice_column(trials, study.stratify, label, [one.value for one in study.strata])
    for name, order in (("phase", _PHASES), ("arm", ARMS), ("status", _STATUSES)):
        there = _texts(trials, name)
        known = [one for one in order if one in there]
        others = sorted({one for one in there if one is not None} - set(known))
        yield Column(name, name, "choice", there, order=known + others)
    yield Column("seed", "seed", "number", numbers(trials, "seed"), digits=0)
    for path, label in short_names(study.parameters).items():
        yield _parameter_column(trials, study.parameters[path], label)
    yield from _metric_columns(study)
    for name, label, digits in (
        ("focus/warm_classes", "warm classes", 2),
        ("seconds", "seconds", 0),
    ):
        values = numbers(trials, name, digits)
        yield Column(name, label, "number", values, is_axis=digits > 0, digits=digits)
    yield Column("trial", "trial", "text", _texts(trials, "trial"))


def _parameter_column(trials: pd.DataFrame, parameter: Parameter, label: str) -> Column:
    path = parameter.path
    if parameter.kind == "choice":
        return _choice_column(trials, path, label, parameter.values)
    return Column(
        path,
        label,
        "number",
        [None if one is None else _short(one) for one in numbers(trials, path)],
        scale="log" if parameter.is_logarithmic else "linear",
        range=[float(value) for value in parameter.values],
        is_axis=True,
    )


def _choice_column(trials: pd.DataFrame, path: str, label: str, choices: Sequence[Any]) -> Column:
    texts = _texts(trials, path)
    for choice in choices:  # a table may hold an int as a float
        if choice is None:  # no value in a table, where an arm that does not use it has none either
            used = trials["arm"].isin([arm for arm in ARMS if uses(arm, path)])
            own = used & trials[path].isna() if path in trials else used
        else:
            own = trials[path] == choice if path in trials else []
        texts = [show(choice) if same else text for same, text in zip(own, texts, strict=True)]
    order = [show(choice) for choice in choices]
    return Column(path, label, "choice", texts, order=order, is_axis=len(order) > 1)


def _metric_columns(study: Study) -> Iterator[Column]:
    """The stages' macro accuracies and gains, and what the search looked at, if it was recorded."""
    for half in _HALVES:
        labels = {f"{stage}/{half}/macro_accuracy": label for stage, label in _STAGES.items()}
        for metric in (study.metric, study.search.get("second_metric")):
            if metric is not None:
                name = str(metric).replace("/select/", f"/{half}/")
                labels.setdefault(name, name.replace(f"/{half}/", " "))
        for name, label in labels.items():
            if name in study.trials and study.trials[name].notna().any():
                is_share = name.split("/", 2)[-1].removeprefix("macro_").startswith(_ACCURACIES)
                digits = 2 if is_share else 4
                values = numbers(study.trials, name, digits, 100 if is_share else 1)
                yield Column(name, label, "number", values, half=half, is_axis=True, digits=digits)


def _texts(trials: pd.DataFrame, name: str) -> list[str | None]:
    if name not in trials:
        return [None] * len(trials)
    return [None if pd.isna(value) else show(value) for value in trials[name].tolist()]


def numbers(
    trials: pd.DataFrame, name: str, digits: int | None = None, factor: float = 1
) -> list[float | None]:
    """The column times ``factor``, rounded; what is no finite number is None."""
    if name not in trials:
        return [None] * len(trials)
    column = pd.to_numeric(trials[name], errors="coerce").astype(float) * factor
    values = [value if math.isfinite(value) else None for value in column]
    if digits is None:
        return values
    return [None if value is None else round(value, digits or None) for value in values]


def on_axis(parameter: Parameter, value: Any) -> Any:
    """A value as the parameter's column has it."""
    return show(value) if parameter.kind == "choice" else _short(value)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
