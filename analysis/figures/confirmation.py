"""Draws the figures of the confirmation: effects, trainings, the best of n, accuracy by subset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from analysis.figures.style import (
    COLOURS,
    CONTROL_STYLE,
    STAGE_STYLES,
    drawn,
    label_rows,
    legend,
    panels,
    style_of,
)
from focusnet.statistics.pooled import Effect

Numbers = Sequence[float] | NDArray[np.float64]
CURVES: dict[str, dict[str, Any]] = {
    "template": STAGE_STYLES["template"],
    "FocusNet": STAGE_STYLES["focus"],
    "label smoothing": CONTROL_STYLE,
    "self-distillation": {"color": COLOURS[3], "linestyle": ":", "marker": "D"},
    "student, no teacher": {"color": COLOURS[4], "linestyle": ":", "marker": "v"},
    "student of the template": {"color": COLOURS[0], "linestyle": "--", "marker": "v"},
    "student of FocusNet": {"color": COLOURS[1], "linestyle": "--", "marker": "v"},
}


@dataclass(frozen=True)
class EffectRow:
    """An effect in points for ``draw_effects``; ``kind`` is average, stratum or arm."""

    label: str
    effect: Effect
    kind: str


@drawn
def draw_effects(rows: Sequence[EffectRow], margin: float) -> Figure:
    """Effects with their intervals, one below the other, kinds apart.

    Args:
        rows: in the order of the figure.
        margin: effects within it are on grey ground.
    """
    figure, (axes,) = panels(1, size=(5.6, 0.9 + 0.3 * len(rows)))
    axes.axvspan(-margin, margin, color="#EEEEEE", zorder=0)
    axes.axvline(0, color="black", linewidth=0.8)
    colours = {"average": COLOURS[1], "stratum": COLOURS[0], "arm": COLOURS[2]}
    markers = {"average": "D", "stratum": "o", "arm": "^"}
    heights: list[float] = []
    for place, row in enumerate(rows):
        apart = 0.5 if place and row.kind != rows[place - 1].kind else 0.0
        heights.append((heights[-1] + 1 if heights else 0) + apart)
        for locations, width in ((True, 1.2), (False, 3.6)):
            ends = [float(end[0]) for end in row.effect.interval(locations=locations)]
            if np.isfinite(ends).all():
                axes.plot(ends, [heights[-1]] * 2, color=colours[row.kind], linewidth=width,
                          solid_capstyle="butt")  # fmt: skip
        axes.plot(float(row.effect.estimate[0]), heights[-1], marker=markers[row.kind],
                  color=colours[row.kind], markersize=7, markeredgecolor="white")  # fmt: skip
    axes.set_xlabel("effect on macro accuracy (points)")
    axes.set_ylim(heights[-1] + 0.6, -0.6)
    axes.set_yticks(heights, [row.label for row in rows])
    return figure


@drawn
def draw_arms(accuracies: Mapping[str, Mapping[str, Mapping[str, Numbers]]]) -> Figure:
    """Macro accuracy of every training: one panel per stratum, one row per arm.

    Args:
        accuracies: fractions by stratum, arm and half; a stratum may lack arms.
    """
    arms = list(dict.fromkeys(arm for of_arms in accuracies.values() for arm in of_arms))
    figure, axes_of = panels(len(accuracies), size=(3.0, 0.9 + 0.3 * len(arms)))
    for axes, (stratum, of_arms) in zip(axes_of, accuracies.items(), strict=True):
        for row, arm in enumerate(arms):
            style = {"FocusNet": COLOURS[1], "template": COLOURS[0]}.get(arm, COLOURS[2])
            for half, of_half in of_arms.get(arm, {}).items():
                values = 100 * np.asarray(of_half, dtype=float)
                if not len(values):
                    continue
                # Halves have clips of their own: beside each other, not in one heap.
                height = row + (0.16 if half == "select" else -0.16 if len(of_arms[arm]) > 1 else 0)
                axes.scatter(
                    values,
                    np.full(len(values), height),
                    s=18,
                    edgecolors=style,
                    facecolors="none" if half == "select" else style,
                    alpha=0.7,
                )
                axes.plot([values.mean()] * 2, [height - 0.15, height + 0.15], color="black",
                          linewidth=1.6)  # fmt: skip
        axes.set_title(stratum)
        axes.set_xlabel("macro accuracy (%)")
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_yticks(range(len(arms)), arms)
    return figure


@drawn
def draw_best_of(
    curves: Mapping[str, Mapping[str, Numbers]], templates: Mapping[str, float]
) -> Figure:
    """Expected accuracy of the best of n trials: a panel per stratum, a line per arm.

    Args:
        curves: fractions for n = 1, 2, ... by stratum and arm.
        templates: mean accuracy of the templates by stratum, as a level to compare with.
    """
    figure, axes_of = panels(len(curves), share_y=False)
    arms = list(dict.fromkeys(arm for of_arms in curves.values() for arm in of_arms))
    for axes, (stratum, of_arms) in zip(axes_of, curves.items(), strict=True):
        if np.isfinite(templates.get(stratum, np.nan)):
            axes.axhline(100 * templates[stratum], color="#555555", linestyle=":", linewidth=1.2,
                         label="template")  # fmt: skip
        for arm, values in of_arms.items():
            style = style_of((1 + arms.index(arm)) if arm != "FocusNet" else 1)
            n = np.arange(1, len(values) + 1)
            axes.plot(n, 100 * np.asarray(values, float), label=arm, markersize=3, **style)
        axes.set_title(stratum)
        axes.set_xlabel("trials tried")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_rows(axes_of, "accuracy of the best (%)")
    legend(figure, axes_of)
    return figure


@drawn
def draw_subset_curve(
    curve: pd.DataFrame, published: Mapping[str, Mapping[float, float]], label: str
) -> Figure:
    """Macro accuracy against the share of the training data.

    Args:
        curve: one row per point: ``curve`` (a key of ``CURVES``), ``subset``, ``accuracy``,
            ``low``, ``high`` as fractions, and ``seeds``; one seed has an open marker.
        published: published accuracies in % by subset, by name.
        label: of the horizontal axis.
    """
    figure, (axes,) = panels(1, size=(5.6, 3.8))
    subsets = sorted(set(curve["subset"]))
    for place, (name, style) in enumerate(CURVES.items()):
        rows = curve[curve["curve"] == name].sort_values("subset")
        if rows.empty:
            continue
        # Shifted sideways, so that intervals do not hide each other.
        x = rows["subset"].to_numpy(float) * 1.03 ** (place - 1)
        y = 100 * rows[["accuracy", "low", "high"]].to_numpy(float)
        axes.plot(x, y[:, 0], label=name, markersize=5, **style)
        known = np.isfinite(y[:, 1])
        single = rows["seeds"].to_numpy(int) == 1
        axes.plot(x[single], y[single, 0], marker=style["marker"], color=style["color"],
                  markerfacecolor="white", markersize=5, linestyle="")  # fmt: skip
        axes.vlines(x[known], y[known, 1], y[known, 2], color=style["color"], linewidth=1.4)
    for marker, (name, points) in zip("*Pdx", published.items(), strict=False):
        axes.plot(
            list(points), list(points.values()), color="#555555", marker=marker, linestyle=":",
            linewidth=1, markersize=7, label=name,
        )  # fmt: skip
        subsets = sorted({*subsets, *points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(subset) for subset in subsets]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(subsets, [f"{subset:g}" for subset in subsets])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
    axes.set_ylabel("macro accuracy (%)")
    legend(figure, [axes])
    return figure
