"""Lists every trial of the search, and plots the learning curves of the winners."""

import pandas as pd

from analysis.figures.models import draw_learning_curves, learning_curves
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import Block, Figure, Section, Table, number, percent, points
from analysis.sections.wording import last_part, stratum_cell, stratum_header
from analysis.tables.parameters import show
from focusnet.config import short_names

SELECT = "{}/select/macro_accuracy"


def trials_section(study: Study) -> Section:
    """Every trial of the search with its parameters and results on select."""
    header = (
        *stratum_header(study),
        *short_names(study.parameters).values(),
        "template %",
        "FocusNet %",
        *(("student %",) if study.has_student else ()),
        "gain",
        "warm classes",
        "only label warm %",
        "seconds",
        "status",
        "trial",
    )
    rows = [
        _trial_row(study, stratum, trial)
        for stratum in study.strata
        for _, trial in _best_first(stratum.trials, study.metric).iterrows()
    ]
    if not rows:
        return Section("Trials", ["No trial has started yet."])
    blocks: list[Block] = [
        "Macro accuracies on select, the half of the test locations that the search sees; best "
        f"first by {study.metric}. Trials that did not finish show their last epoch. The last "
        "column is the end of the trial's name in trials.parquet and predictions/.",
        Table(header, rows, words=frozenset({"status", "trial"})),
        *_learning_curves(study),
    ]
    return Section("Trials", blocks)


def _learning_curves(study: Study) -> list[Figure]:
    """A plot of each winner's and its template's learning curve; nothing without epochs."""
    strata = [stratum for stratum in study.winners if learning_curves(study, stratum)]
    if not strata:
        return []
    return [
        Figure(
            "learning_curves.png",
            "Macro accuracy on select by epoch, of each stratum's winner and its template.",
            "Line plots of accuracy by epoch, one for each stratum.",
            draw_learning_curves(study, strata),
        )
    ]


def _best_first(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    rank = {"finished": 0, "stopped": 1, "running": 2, "pending": 3, "failed": 4}
    keys = pd.DataFrame(
        {
            "status": trials["status"].map(lambda status: rank.get(status, len(rank))),
            "value": -trials[metric] if metric in trials else 0.0,
        }
    )
    return trials.loc[keys.sort_values(["status", "value"], kind="stable").index]


def _trial_row(study: Study, stratum: Stratum, trial: pd.Series) -> tuple[str, ...]:
    before, after = (value_of(trial, SELECT.format(stage)) for stage in ("template", "focus"))
    won = stratum.winner is not None and stratum.winner["trial"] == trial["trial"]
    return (
        *stratum_cell(study, stratum),
        *(show(trial.get(path)) for path in study.parameters),
        percent(before),
        percent(after),
        *((percent(value_of(trial, SELECT.format("student"))),) if study.has_student else ()),
        # Not after - before: a trial that did not finish has a template that trained longer.
        points(value_of(trial, "gain/select/macro_accuracy")),
        number(value_of(trial, "focus/warm_classes"), 2),
        percent(value_of(trial, "focus/only_label_warm")),
        number(value_of(trial, "seconds"), 0),
        _status(study, trial) + (", winner" if won else ""),
        last_part(trial["trial"]),
    )


def _status(study: Study, trial: pd.Series) -> str:
    """A trial's status, with the last epoch if it is running or was stopped."""
    status = str(trial["status"])
    if status not in ("stopped", "running"):
        return status
    epochs = study.epochs[study.epochs["trial"] == trial["trial"]]
    if epochs.empty:
        return status
    last = epochs.iloc[-1]
    return f"{status} ({last['stage']} epoch {last['epoch']}/{last['epochs']})"
