"""Shows the Pareto front of searches with two objectives."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from analysis.figures.style import drawn, style_of
from analysis.read_study import Study, value_of
from analysis.render.document import Block, Figure, Section, Table, number, percent
from analysis.sections.wording import last_part, stratum_cell, stratum_header
from analysis.tables.parameters import show
from focusnet.config import short_names

# The study minimises these; its results do not say so.
LOWER_IS_BETTER = ("log_loss", "calibration_error")


def pareto_front(trials: pd.DataFrame, metrics: tuple[str, str]) -> pd.DataFrame:
    """The Pareto front of the finished trials, best by the first metric first.

    A trial is on it if no other is at least as good in both metrics and better in one. Trials
    without both metrics are left out.
    """
    done = _finished(trials, metrics)
    signs = np.array([-1.0 if metric.endswith(LOWER_IS_BETTER) else 1.0 for metric in metrics])
    values = done[list(metrics)].to_numpy(float) * signs
    no_worse = (values[None, :, :] >= values[:, None, :]).all(axis=2)
    better = (values[None, :, :] > values[:, None, :]).any(axis=2)
    on_front = ~(no_worse & better).any(axis=1)
    order = values[on_front, 0].argsort(kind="stable")[::-1]
    return done[on_front].iloc[order]


def two_objectives_section(study: Study) -> Section | None:
    """The Pareto front of each stratum; None with one objective."""
    second = study.search.get("second_metric")
    if not second:
        return None
    metrics = (study.metric, str(second))
    rows = [
        (
            *stratum_cell(study, stratum),
            *(show(trial.get(path)) for path in study.parameters),
            *(_cell(metric, value_of(trial, metric)) for metric in metrics),
            last_part(trial["trial"]),
        )
        for stratum in study.strata
        for _, trial in pareto_front(stratum.trials, metrics).iterrows()
    ]
    if not rows:
        return Section("Two objectives", ["No finished trial has both objectives yet."])
    header = (
        *stratum_header(study),
        *short_names(study.parameters).values(),
        *(_heading(metric) for metric in metrics),
        "trial",
    )
    verbs = ["minimised" if metric.endswith(LOWER_IS_BETTER) else "maximised" for metric in metrics]
    blocks: list[Block] = [
        f"The search {verbs[0]} {metrics[0]} and {verbs[1]} {metrics[1]}. These trials are the "
        "Pareto front: no other trial is better in one objective without being worse in the other. "
        "The winner is the best by the first objective. The trials were chosen on these clips, so "
        "both numbers look better than they are.",
        Table(header, rows, words=frozenset({"trial"})),
        Figure(
            "objectives.png",
            "Both objectives of every finished trial on select; a line joins the Pareto front.",
            "A scatter plot of two metrics with a line through the Pareto front.",
            draw_two_objectives(study, metrics),
        ),
    ]
    return Section("Two objectives", blocks)


@drawn
def draw_two_objectives(study: Study, metrics: tuple[str, str]) -> Canvas:
    """Scatter all trials by both objectives, strata in colours, their Pareto fronts as lines."""
    figure = Canvas(figsize=(5.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for place, stratum in enumerate(study.strata):
        done = _finished(stratum.trials, metrics)
        if done.empty:
            continue
        style = style_of(place)
        x, y = (_scale(metric) * done[metric].astype(float) for metric in metrics)
        axes.scatter(x, y, s=28, label=stratum.label, **style)
        front = pareto_front(stratum.trials, metrics)
        x, y = (_scale(metric) * front[metric].astype(float) for metric in metrics)
        axes.plot(x, y, color=style["color"], linewidth=1)
    axes.set_xlabel(_heading(metrics[0]))
    axes.set_ylabel(_heading(metrics[1]))
    if study.stratify:
        axes.legend()
    return figure


def _finished(trials: pd.DataFrame, metrics: tuple[str, str]) -> pd.DataFrame:
    """The finished trials that have both metrics."""
    trials = trials.reindex(columns=trials.columns.union(metrics, sort=False))
    return trials[trials["status"] == "finished"].dropna(subset=list(metrics))


def _scale(metric: str) -> float:
    return 1.0 if metric.endswith("log_loss") else 100.0


def _heading(metric: str) -> str:
    stage, _, name = metric.split("/", 2)
    unit = "nats" if name == "log_loss" else "%"
    return f"{stage} {name.replace('_', ' ')}, {unit}"


def _cell(metric: str, value: float) -> str:
    return number(value, 3) if metric.endswith("log_loss") else percent(value)
