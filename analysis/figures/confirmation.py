"""Draws the figures of the confirmation: effects, single trainings, accuracy by subset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from analysis.figures.style import (
    COLOURS,
    CONTROL_STYLE,
    STAGE_STYLES,
    drawn,
    legend,
    panels,
    style_of,
)

CURVES: dict[str, dict[str, Any]] = {
    "template": STAGE_STYLES["template"],
    "FocusNet": STAGE_STYLES["focus"],
    "best control": CONTROL_STYLE,
}


@drawn
def draw_effects(effects: pd.DataFrame, labels: Mapping[Any, str], titles: Sequence[str]) -> Figure:
    """Effect and interval in each stratum, one panel per comparison; dotted: detectable effects.

    Args:
        effects: see ``verdict.verdicts``.
        labels: names of the strata by value.
        titles: names of the comparisons, in the order of the table.
    """
    comparisons = list(dict.fromkeys(effects["against"]))
    rows = len(labels)
    # With few seeds the detectable effect may exceed 100 points, so only intervals set the scale.
    ends = 100 * effects[["low", "high"]].abs().to_numpy(float)
    limit = 1.5 * max(1.0, float(np.nanmax(ends))) if np.isfinite(ends).any() else 1.0
    figure, axes_of = panels(len(comparisons), share_x=True, size=(3.2, 0.9 + 0.42 * rows))
    for axes, against, title in zip(axes_of, comparisons, titles, strict=True):
        table = effects[effects["against"] == against].set_index("stratum").reindex(list(labels))
        axes.axvline(0, color="black", linewidth=0.8)
        for row, (_, one) in enumerate(table.iterrows()):
            if np.isnan(one["effect"]):
                axes.text(0.5, row, "not tested", ha="center", va="center",
                          transform=axes.get_yaxis_transform(), fontsize=8)  # fmt: skip
                continue
            style = style_of(row)
            axes.plot([100 * one["low"], 100 * one["high"]], [row, row], color=style["color"])
            axes.plot(100 * one["effect"], row, markersize=7, **style)
            for sign in (-1, 1) if 100 * one["detectable"] < limit else ():
                axes.plot(
                    [sign * 100 * one["detectable"]] * 2,
                    [row - 0.3, row + 0.3],
                    color="black",
                    linestyle=":",
                    linewidth=1.2,
                )
        axes.set_title(title, fontsize=9)
        axes.set_xlim(-limit, limit)
        axes.set_xlabel("effect on report (points)")
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(range(rows), list(labels.values()))
    return figure


@drawn
def draw_arms(accuracies: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Macro accuracy on report of every training: one panel per stratum, one row per arm.

    Args:
        accuracies: fractions by stratum and arm; a stratum may lack arms.
    """
    arms = list(dict.fromkeys(arm for of_arms in accuracies.values() for arm in of_arms))
    figure, axes_of = panels(len(accuracies), size=(3.0, 0.9 + 0.3 * len(arms)))
    for axes, (stratum, of_arms) in zip(axes_of, accuracies.items(), strict=True):
        for row, arm in enumerate(arms):
            values = 100 * np.asarray(of_arms.get(arm, ()), dtype=float)
            if not len(values):
                continue
            style = {"FocusNet": COLOURS[1], "template": COLOURS[0]}.get(arm, COLOURS[2])
            axes.scatter(values, np.full(len(values), row), s=18, color=style, alpha=0.7)
            axes.plot([values.mean()] * 2, [row - 0.35, row + 0.35], color="black", linewidth=1.6)
        axes.set_title(stratum)
        axes.set_xlabel("macro accuracy on report (%)")
        axes.set_ylim(len(arms) - 0.5, -0.5)
        axes.set_yticks(range(len(arms)), arms)
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
    for marker, (name, points) in zip("*Pd", published.items(), strict=False):
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
    axes.set_ylabel("macro accuracy on report (%)")
    legend(figure, [axes])
    return figure
