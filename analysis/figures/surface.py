"""Draws what all trials of a search together say about each parameter, with its uncertainty."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.search import finished_with
from analysis.figures.style import (
    COLOURS,
    PANELS_A_ROW,
    drawn,
    label_rows,
    legend,
    parameter_label,
    show_range,
)
from analysis.read_study import Stratum, Study
from analysis.tables.parameters import Parameter, show
from focusnet.winner import SearchSpace, landscape

_STEPS = 41  # of a range
_PANEL = (3.0, 1.6, 2.4)  # inches: width, height with several parameters and with one
_TRIALS: dict[str, Any] = {"s": 16, "color": "#777777", "linewidths": 0, "alpha": 0.8}
_WINNER: dict[str, Any] = {"marker": "*", "s": 150, "edgecolors": "black", "linewidths": 0.8}


@drawn
def draw_surface(study: Study, parameters: Sequence[Parameter]) -> Figure:
    """Posterior mean and one standard deviation along each parameter, a row per stratum.

    The other parameters have the winner's values. Of the strata that have an estimated winner.
    """
    strata = [stratum for stratum in study.strata if stratum.is_estimated]
    figure, grid = _panels(len(strata), len(parameters))
    curves = _curves(study, strata, parameters)
    several = len(parameters) > 1
    for place, axes in enumerate(grid):
        row, column = divmod(place, len(parameters))
        stratum, parameter = strata[row], parameters[column]
        _draw_panel(axes, study, stratum, parameter, *curves[place])
        if several and column == 0:
            axes.set_ylabel(f"{stratum.label}\non select (%)")
        elif not several:
            axes.set_title(stratum.label)
        if not several or row == len(strata) - 1:
            axes.set_xlabel(parameter_label(parameter))
    if not several:
        label_rows(grid, "on select (%)")
    legend(figure, grid[:1])
    return figure


def _panels(strata: int, parameters: int) -> tuple[Figure, list[Axes]]:
    """A row for each stratum, a column for each parameter; of one parameter, three in a row."""
    several = parameters > 1
    columns = parameters if several else min(strata, PANELS_A_ROW)
    rows = -(-strata * parameters // columns)
    size = (_PANEL[0] * columns + 0.6, _PANEL[1 + (not several)] * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    # Strata are at different levels of accuracy.
    share: Literal["row", "none"] = "row" if several else "none"
    grid = list(figure.subplots(rows, columns, sharey=share, squeeze=False).ravel())
    for axes in grid[strata * parameters :]:
        axes.set_visible(False)
    return figure, grid[: strata * parameters]


Curve = tuple[list[Any], np.ndarray, np.ndarray]  # values, mean and standard deviation in %


def _curves(
    study: Study, strata: Sequence[Stratum], parameters: Sequence[Parameter]
) -> list[Curve]:
    """The estimates in each stratum along each parameter, from one fit."""
    fitted = landscape(study.trials, study.space)
    lines: list[tuple[int, list[Any], slice]] = []
    settings: list[dict[str, Any]] = []
    for stratum in strata:
        assert stratum.choice is not None
        for parameter in parameters:
            values = _values(fitted.space, parameter)
            first = len(settings)
            settings += [{**stratum.choice.parameters, parameter.path: one} for one in values]
            of = fitted.strata.index(stratum.choice.stratum)
            lines.append((of, values, slice(first, len(settings))))
    surface = fitted.estimate(settings)
    return [
        (values, 100 * surface.mean[of, span], 100 * surface.sd[of, span])
        for of, values, span in lines
    ]


def _values(space: SearchSpace, parameter: Parameter) -> list[Any]:
    if parameter.kind == "choice":
        return list(parameter.values)
    path = parameter.path
    values = [space.cube.settings_at({path: share})[path] for share in np.linspace(0, 1, _STEPS)]
    return list(dict.fromkeys(values))


def _draw_panel(
    axes: Axes,
    study: Study,
    stratum: Stratum,
    parameter: Parameter,
    values: list[Any],
    mean: np.ndarray,
    sd: np.ndarray,
) -> None:
    winner = stratum.choice
    assert winner is not None
    done = finished_with(stratum, study.metric)
    choices = [show(value) for value in values] if parameter.kind == "choice" else None

    def across(column: pd.Series) -> Any:
        if choices is None:
            return column.astype(float)
        return [choices.index(show(value)) for value in column]

    x = values if choices is None else list(range(len(choices)))
    axes.scatter(
        across(done[parameter.path]),
        100 * done[study.metric].astype(float),
        label="single trial",
        **_TRIALS,
    )
    if choices is None:
        axes.plot(x, mean, color=COLOURS[0], label="estimate")
        axes.fill_between(x, mean - sd, mean + sd, color=COLOURS[0], alpha=0.2, linewidth=0,
                          label="± 1 sd")  # fmt: skip
        show_range(axes, parameter)
    else:
        axes.errorbar(x, mean, yerr=sd, fmt="s", color=COLOURS[0], capsize=3,
                      label="estimate ± 1 sd")  # fmt: skip
        axes.set_xticks(x, choices)
        axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.scatter(
        across(pd.Series([winner.parameters[parameter.path]], dtype=object)),
        [100 * winner.estimate],
        color=COLOURS[1],
        zorder=3,
        label="winner",
        **_WINNER,
    )
