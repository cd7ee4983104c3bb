"""Draws the trials of a search against its parameters and against the size of the masks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from analysis.figures.style import (
    drawn,
    label_rows,
    legend,
    panels,
    parameter_label,
    show_range,
    style_of,
)
from analysis.read_study import Stratum, Study
from analysis.tables.parameters import Parameter

GAIN = "gain/select/macro_accuracy"
WARM = "focus/warm_classes"
_RING: dict[str, Any] = {"s": 130, "marker": "o", "facecolors": "none", "edgecolors": "black"}


@drawn
def draw_gains(study: Study, parameters: Sequence[Parameter]) -> Figure:
    """Gain on select of every finished trial against each parameter, one colour per stratum.

    Winners are ringed; one at the edge of its range is labelled "edge".
    """
    figure, axes_of_parameters = panels(len(parameters))
    for axes, parameter in zip(axes_of_parameters, parameters, strict=True):
        axes.axhline(0, color="black", linewidth=0.8)
        for place, stratum in enumerate(study.strata):
            _scatter_gains(axes, parameter.path, stratum, place)
            _flag_edge(axes, parameter, stratum)
        show_range(axes, parameter)
        axes.set_xlabel(parameter_label(parameter))
    label_rows(axes_of_parameters, "gain on select (points)")
    if study.stratify:
        legend(figure, axes_of_parameters)
    return figure


@drawn
def draw_warm_classes(study: Study) -> Figure:
    """Gain on select of every finished trial against the size of its masks."""
    figure, (axes,) = panels(1, size=(5.2, 3.4))
    axes.axhline(0, color="black", linewidth=0.8)
    for place, stratum in enumerate(study.strata):
        _scatter_gains(axes, WARM, stratum, place)
    axes.set_xscale("log")  # in most searches, most masks hold little more than the label
    ticks = (1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)
    low, high = axes.get_xlim()
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(low, high)
    axes.set_xlabel("warm classes per training clip (mean; 1: the label alone)")
    axes.set_ylabel("gain on select (points)")
    if study.stratify:
        legend(figure, [axes])
    return figure


def finished_with(stratum: Stratum, *columns: str) -> pd.DataFrame:
    """The finished trials of a stratum's search that have a number in each of ``columns``."""
    done = stratum.trials[stratum.trials["status"] == "finished"]
    if not set(columns) <= set(done.columns):
        return done.iloc[:0].reindex(columns=[*done.columns, *columns])
    return done.dropna(subset=list(columns))


def _scatter_gains(axes: Axes, column: str, stratum: Stratum, place: int) -> None:
    done = finished_with(stratum, column, GAIN)
    if done.empty:
        return
    x, y = done[column].astype(float), 100 * done[GAIN].astype(float)
    axes.scatter(x, y, s=28, label=stratum.label, **style_of(place))
    if stratum.winner is not None:
        won = done["trial"] == stratum.winner["trial"]
        axes.scatter(x[won], y[won], **_RING)


def _flag_edge(axes: Axes, parameter: Parameter, stratum: Stratum) -> None:
    winner = stratum.winner
    if winner is None or not {parameter.path, GAIN} <= set(winner.index):
        return
    edge = parameter.edge(winner[parameter.path])
    if edge is None or pd.isna(winner[GAIN]):
        return
    left = edge == "lower"
    axes.annotate(
        "edge",
        (float(winner[parameter.path]), 100 * float(winner[GAIN])),
        xytext=(9 if left else -9, 0),
        textcoords="offset points",
        ha="left" if left else "right",
        va="center",
        fontsize=8,
    )


@drawn
def draw_two_parameters(study: Study, one: Parameter, other: Parameter) -> Figure:
    """Every finished trial by two parameters, one panel per stratum, coloured by its gain."""
    done = [finished_with(stratum, one.path, other.path, GAIN) for stratum in study.strata]
    gains = 100 * pd.concat([trials[GAIN].astype(float) for trials in done])
    limit = max(1.0, float(gains.abs().max()))
    figure, axes_of_strata = panels(len(study.strata))
    for axes, stratum, trials in zip(axes_of_strata, study.strata, done, strict=True):
        x, y = trials[one.path].astype(float), trials[other.path].astype(float)
        points = axes.scatter(
            x,
            y,
            c=100 * trials[GAIN].astype(float),
            cmap="RdBu",
            vmin=-limit,
            vmax=limit,
            s=60,
            edgecolors="#555555",
            linewidths=0.6,
        )
        if stratum.winner is not None:  # which may be settings that no trial has had
            won = [[float(stratum.winner[path])] for path in (one.path, other.path)]
            axes.scatter(*won, **{**_RING, "s": 190})
        show_range(axes, one)
        show_range(axes, other, vertical=True)
        axes.set_title(stratum.label)
        axes.set_xlabel(parameter_label(one))
    label_rows(axes_of_strata, parameter_label(other))
    figure.colorbar(points, ax=axes_of_strata, label="gain on select (points)")
    return figure
