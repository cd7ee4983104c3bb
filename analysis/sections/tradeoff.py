"""Searches with two objectives: the trials of which none is better by both."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from analysis.figures.style import COLOURS, MARKERS, drawn
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import Block, Figure, Section, Table, number, percent
from analysis.tables.parameters import show
from focusnet.config import short_names

# As the study knows (its space does not say): of these, less is better.
LOWER_IS_BETTER = ("log_loss", "calibration_error")


def lower_is_better(metric: str) -> bool:
    return metric.endswith(LOWER_IS_BETTER)


def pareto_front(trials: pd.DataFrame, metrics: tuple[str, str]) -> pd.DataFrame:
    """The finished trials that no other beats in one metric without losing in the second.

    The best by the first metric comes first. Trials without both metrics are left out.
    """
    if not set(metrics) <= set(trials.columns):
        return trials.iloc[:0]
    done = trials[trials["status"] == "finished"].dropna(subset=list(metrics))
    signs = np.array([-1.0 if lower_is_better(metric) else 1.0 for metric in metrics])
    values = done[list(metrics)].to_numpy(float) * signs
    no_worse = (values[None, :, :] >= values[:, None, :]).all(axis=2)
    better = (values[None, :, :] > values[:, None, :]).any(axis=2)
    front = done[~(no_worse & better).any(axis=1)]
    order = values[~(no_worse & better).any(axis=1), 0].argsort(kind="stable")[::-1]
    return front.iloc[order]


def tradeoff_section(study: Study) -> Section | None:
    """What is to be had of the one objective for how much of the other; None with one objective."""
    second = study.search.get("second_metric")
    if not second:
        return None
    metrics = (study.metric, str(second))
    names = short_names(study.parameters)
    rows = []
    for stratum in study.strata:
        for _, trial in pareto_front(stratum.trials, metrics).iterrows():
            rows.append(
                (
                    *((show(stratum.value),) if study.stratify else ()),
                    *(show(trial.get(path)) for path in study.parameters),
                    *(_shown(metric, value_of(trial, metric)) for metric in metrics),
                    str(trial["trial"]).rpartition("-")[2],
                )
            )
    if not rows:
        return Section("Two objectives", ["No trial has finished with both of them yet."])
    verbs = ["small" if lower_is_better(metric) else "large" for metric in metrics]
    table = Table(
        (
            *((study.stratify.rpartition(".")[2],) if study.stratify else ()),
            *names.values(),
            *(_heading(metric) for metric in metrics),
            "trial",
        ),
        rows,
        words=frozenset({"trial"}),
    )
    blocks: list[Block] = [
        f"The search wanted {metrics[0]} to be {verbs[0]} and {metrics[1]} to be {verbs[1]}. These "
        "are the trials of which no other is better by both; the first objective names the winner. "
        "They were chosen on these clips, so that both numbers are flattered.",
        table,
        Figure(
            "objectives.png",
            "The two objectives of every finished trial on select; a line joins those of which "
            "none is better by both.",
            "A scatter plot of two metrics with a stepped line through the best trade-offs.",
            draw_tradeoff(study, metrics),
        ),
    ]
    return Section("Two objectives", blocks)


@drawn
def draw_tradeoff(study: Study, metrics: tuple[str, str]) -> Canvas:
    """All trials by both objectives, strata in colours, their fronts as lines."""
    figure = Canvas(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for place, stratum in enumerate(study.strata):
        points = _finished(stratum, metrics)
        if points.empty:
            continue
        colour = COLOURS[place % len(COLOURS)]
        marker = MARKERS[place % len(MARKERS)]
        x, y = (_scale(metric) * points[metric].astype(float) for metric in metrics)
        axes.scatter(x, y, s=28, marker=marker, color=colour, label=stratum.label)
        front = pareto_front(stratum.trials, metrics)
        x, y = (_scale(metric) * front[metric].astype(float) for metric in metrics)
        axes.plot(x, y, color=colour, linewidth=1)
    axes.set_xlabel(_heading(metrics[0]))
    axes.set_ylabel(_heading(metrics[1]))
    if study.stratify:
        axes.legend()
    return figure


def _finished(stratum: Stratum, metrics: tuple[str, str]) -> pd.DataFrame:
    if not set(metrics) <= set(stratum.trials.columns):
        return stratum.trials.iloc[:0]
    done = stratum.trials[stratum.trials["status"] == "finished"]
    return done.dropna(subset=list(metrics))


def _scale(metric: str) -> float:
    return 1.0 if metric.endswith("log_loss") else 100.0


def _heading(metric: str) -> str:
    stage, _, name = metric.split("/", 2)
    unit = "nats" if name == "log_loss" else "%"
    return f"{stage} {name.replace('_', ' ')}, {unit}"


def _shown(metric: str, value: float) -> str:
    if metric.endswith("log_loss"):
        return number(value, 3)
    return "-" if math.isnan(value) else percent(value)
