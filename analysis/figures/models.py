"""Draws confusion matrices, changes by scene or device, and learning curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.style import STAGE_STYLES, drawn, label_rows, legend, panels
from analysis.read_study import Stratum, Study
from analysis.render.document import points
from analysis.tables.confusions import confusion_percent, order_by_confusion
from analysis.tables.predictions import STAGES, TEMPLATE, scenes_of

NUMBERED_UP_TO = 15  # scenes; cells of larger matrices are too small for numbers
LONGEST_NAME = 30  # characters of a name on an axis


@drawn
def draw_confusions(clips: pd.DataFrame) -> Figure:
    """Confusion matrices of template and FocusNet in percent of each true scene, on one scale.

    Scenes that the template confuses with each other are next to each other.
    """
    scenes = scenes_of(clips)
    order = order_by_confusion(confusion_percent(clips, TEMPLATE))
    names = [_short(scenes[place]) for place in order]
    side = max(3.0, 0.36 * len(scenes))
    figure = Figure(figsize=(2 * side + 3.0, side + 1.6), layout="constrained")
    pair = figure.subplots(1, 2, sharey=True)
    for axes, (stage, name) in zip(pair, STAGES.items(), strict=True):
        shares = confusion_percent(clips, stage)[np.ix_(order, order)]
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        axes.set_title(name)
        axes.set_xticks(range(len(scenes)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(scenes)), names)
        axes.set_xlabel("predicted scene")
        if len(scenes) <= NUMBERED_UP_TO:
            texts = [[f"{share:.0f}" if share >= 0.5 else "" for share in row] for row in shares]
            _number_cells(axes, shares, texts, dark=50)
        _bare(axes)
    pair[0].set_ylabel("true scene")
    figure.colorbar(image, ax=pair, label="share of the true scene's clips (%)", shrink=0.8)
    return figure


@drawn
def draw_changes(changes: Mapping[str, pd.Series], label: str) -> Figure:
    """Heat map of changes in points: one row per name, one column per stratum.

    Args:
        changes: fractions by name (of scenes or devices), by stratum; a missing name has no cell.
        label: what the names are.
    """
    table = 100 * pd.DataFrame(dict(changes))
    rows, columns = table.shape
    figure = Figure(figsize=(2.6 + 1.0 * columns, 1.5 + 0.3 * rows), layout="constrained")
    axes = figure.subplots()
    values = table.to_numpy(float)
    limit = max(1.0, float(np.nanmax(np.abs(values)))) if np.isfinite(values).any() else 1.0
    # Blue and orange-red differ with every colour vision, and the cells show the signs.
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(columns), [_short(str(name)) for name in table.columns])
    axes.set_yticks(range(rows), [_short(str(name)) for name in table.index])
    axes.set_ylabel(label)
    texts = [[points(value / 100) if np.isfinite(value) else "" for value in row] for row in values]
    _number_cells(axes, values, texts, dark=0.6 * limit)
    _bare(axes)
    figure.colorbar(image, ax=axes, label="change (points)")
    return figure


def _number_cells(
    axes: Axes, values: NDArray[np.float64], texts: Sequence[Sequence[str]], dark: float
) -> None:
    """Write a text into each cell, in white where the absolute value is above ``dark``."""
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if abs(value) > dark else "black"
        if text := texts[row][column]:
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)


def _bare(axes: Axes) -> None:
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


@drawn
def draw_learning_curves(study: Study, strata: Sequence[Stratum]) -> Figure:
    """Macro accuracy on select by epoch: template and FocusNet of each stratum's winner."""
    figure, axes_of_strata = panels(len(strata))
    for axes, stratum in zip(axes_of_strata, strata, strict=True):
        for stage, curve in learning_curves(study, stratum).items():
            axes.plot(
                curve.index,
                100 * curve,
                label=STAGES[stage],
                markersize=3.5,
                markevery=max(1, len(curve) // 20),
                **STAGE_STYLES[stage],
            )
        if stratum.clips is not None:
            chance = 100 / len(scenes_of(stratum.clips))
            axes.axhline(chance, color="black", linewidth=0.8, linestyle=":", label="chance")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(stratum.label)
        axes.set_xlabel("epoch of the stage")
    # All panels share this axis. Setting it after drawing keeps the automatic top.
    axes_of_strata[0].set_ylim(bottom=0)
    label_rows(axes_of_strata, "macro accuracy on select (%)")
    legend(figure, axes_of_strata)
    return figure


def learning_curves(study: Study, stratum: Stratum) -> dict[str, pd.Series]:
    """Macro accuracy on select by epoch, for each stage of the winner that has recorded it."""
    if stratum.winner is None:
        return {}
    epochs = study.epochs[study.epochs["trial"] == stratum.winner["trial"]]
    curves = {}
    for stage in STAGES:
        name = f"{stage}/select/macro_accuracy"
        if name in epochs:
            rows = epochs[epochs["stage"] == stage].dropna(subset=[name])
            if len(rows):
                curves[stage] = pd.Series(
                    rows[name].to_numpy(float), rows["epoch"].to_numpy(int), name=name
                )
    return curves
