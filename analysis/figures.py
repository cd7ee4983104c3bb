"""The report's pictures: readable in print, without colour, and with every colour vision."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed, nor looked for

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from analysis.confusions import confusion_percent
from analysis.parameters import Parameter, short_names
from analysis.predictions import STAGES, scenes_of
from analysis.study_files import Stratum, Study

# Okabe and Ito's colours without the yellow, which print loses; each has a marker of its own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STAGE_STYLES: dict[str, Any] = {
    "template": {"color": COLOURS[0], "linestyle": "--", "marker": "o"},
    "focus": {"color": COLOURS[1], "linestyle": "-", "marker": "s"},
}
PANEL = (3.6, 3.0)  # inches
PANELS_A_ROW = 3
NUMBERED_UP_TO = 15  # scenes; the cells of larger confusion matrices have no room for numbers
MARGIN = 0.05  # beside a range, as a share of it
DPI = 150
GAIN = "gain/select/macro_accuracy"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw_confusions(stratum: Stratum, path: Path) -> None:
    """Heat maps of template and FocusNet: percent of each true scene, one scale for both."""
    clips = stratum.clips
    assert clips is not None
    scenes = scenes_of(clips)
    side = max(3.0, 0.36 * len(scenes))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(2 * side + 3.0, side + 1.6), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (stage, name) in zip(panels, STAGES.items(), strict=True):
            shares = confusion_percent(clips, stage)
            image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
            axes.set_title(name)
            axes.set_xticks(range(len(scenes)), scenes, rotation=45, ha="right")
            axes.set_yticks(range(len(scenes)), scenes)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_xlabel("predicted scene")
            if len(scenes) <= NUMBERED_UP_TO:
                _number_cells(axes, shares)
        panels[0].set_ylabel("true scene")
        figure.colorbar(image, ax=panels, label="share of the true scene's clips (%)", shrink=0.8)
        figure.savefig(path, dpi=DPI)


def _number_cells(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:  # what rounds to nothing stays empty; NaN too
            colour = "white" if share > 50 else "black"
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", color=colour, fontsize=7
            )


def draw_gains(study: Study, parameters: Sequence[Parameter], path: Path) -> None:
    """Gain on select of every finished trial against each parameter, strata in colours."""
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(parameters), share_y=True)
        names = short_names(study.parameters)
        for axes, parameter in zip(panels, parameters, strict=True):
            axes.axhline(0, color="black", linewidth=0.8)
            for place, stratum in enumerate(study.strata):
                _scatter_gains(axes, parameter, stratum, place)
            _show_range(axes, parameter)
            unit = {"threshold": " (probability)", "weight": " (factor)"}
            name = names[parameter.path]
            axes.set_xlabel(parameter.path + unit.get(name, ""))
        _label_rows(panels, "gain on select (points)")
        if study.stratify:
            _legend(figure, panels)
        figure.savefig(path, dpi=DPI)


def _scatter_gains(axes: Axes, parameter: Parameter, stratum: Stratum, place: int) -> None:
    if parameter.path not in stratum.trials or GAIN not in stratum.trials:
        return
    done = stratum.trials[stratum.trials["status"] == "finished"].dropna(
        subset=[parameter.path, GAIN]
    )
    if done.empty:
        return
    style: Any = {
        "marker": MARKERS[place % len(MARKERS)],
        "color": COLOURS[place % len(COLOURS)],
    }
    x, y = done[parameter.path].astype(float), 100 * done[GAIN].astype(float)
    axes.scatter(x, y, s=28, label=stratum.label, **style)
    if stratum.winner is not None:
        won = done["trial"] == stratum.winner["trial"]
        axes.scatter(x[won], y[won], s=130, marker="o", facecolors="none", edgecolors="black")


def _show_range(axes: Axes, parameter: Parameter) -> None:
    """All of the range that was searched, so that a point at its edge is seen to be there."""
    low, high = min(parameter.values), max(parameter.values)
    if parameter.is_logarithmic:
        axes.set_xscale("log")
        # 0.1, 1, 10 are easier read than powers of ten.
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        margin = (high / low) ** MARGIN
        axes.set_xlim(low / margin, high * margin)
    elif low < high:
        margin = (high - low) * MARGIN
        axes.set_xlim(low - margin, high + margin)
    if parameter.kind == "choice":
        axes.set_xticks(parameter.values)


def draw_learning_curves(study: Study, strata: Sequence[Stratum], path: Path) -> None:
    """Macro accuracy on select by epoch: template and FocusNet of each stratum's winner."""
    with matplotlib.rc_context(STYLE):
        figure, panels = _panels(len(strata), share_y=True)
        for axes, stratum in zip(panels, strata, strict=True):
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
        panels[0].set_ylim(bottom=0)  # of all panels; only now, so that the top fits every curve
        _label_rows(panels, "macro accuracy on select (%)")
        _legend(figure, panels)
        figure.savefig(path, dpi=DPI)


def learning_curves(study: Study, stratum: Stratum) -> dict[str, pd.Series]:
    """Macro accuracy on select by epoch, of the stages of a stratum's winner that have any."""
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


def _panels(count: int, share_y: bool) -> tuple[Figure, list[Axes]]:
    columns = min(count, PANELS_A_ROW)
    rows = math.ceil(count / columns)
    width, height = PANEL
    figure = Figure(figsize=(width * columns + 0.6, height * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=share_y, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count])


def _label_rows(panels: Sequence[Axes], label: str) -> None:
    for axes in panels[::PANELS_A_ROW]:
        axes.set_ylabel(label)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend above all panels, of everything that any of them shows."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()), list(entries), loc="outside upper center", ncols=PANELS_A_ROW + 2
    )
