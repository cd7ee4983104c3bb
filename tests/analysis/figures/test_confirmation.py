"""Figures of the confirmation, read back from their axes."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.confirmation import (
    EffectRow,
    draw_arms,
    draw_best_of,
    draw_effects,
    draw_subset_curve,
)
from focusnet.statistics.pooled import Effect


def effect(estimate, seeds=1.0, locations=3.0):
    many = np.full(1, 1e9)
    return Effect(np.full(1, estimate), np.full(1, seeds), many, np.full(1, locations), many)


def test_effects_have_a_thin_interval_for_new_locations_and_a_thick_one_for_these(drawn):
    rows = [
        EffectRow("average", effect(2.0), "average"),
        EffectRow("subset 25", effect(-1.0), "stratum"),
        EffectRow("over placebo", effect(0.5, locations=np.nan), "arm"),
    ]
    draw_effects(rows, margin=1.0)
    axes = drawn[0].axes[0]
    lines = {line.get_linewidth(): line.get_xdata() for line in axes.lines[1:3]}
    np.testing.assert_allclose(lines[1.2], [2 - 1.96 * 2, 2 + 1.96 * 2], atol=0.001)
    np.testing.assert_allclose(lines[3.6], [2 - 1.96, 2 + 1.96], atol=0.001)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["average", "subset 25", "over placebo"]
    assert axes.get_xlabel() == "effect on macro accuracy (points)"
    # Where locations say nothing there is no thin interval.
    assert [line.get_linewidth() for line in axes.lines].count(1.2) == 2
    assert axes.patches[0].get_extents().width > 0  # the margin


def test_each_training_is_a_point_and_each_half_has_its_mean(drawn):
    draw_arms(
        {
            "s": {
                "template": {"report": [0.4, 0.5], "select": [0.7]},
                "FocusNet": {"report": [0.6]},
            },
            "t": {"FocusNet": {"report": [0.7]}},
        }
    )
    first, second = drawn[0].axes
    offsets = np.concatenate([points.get_offsets() for points in first.collections])
    np.testing.assert_allclose(offsets[:, 0], [40, 50, 70, 60])
    assert offsets[0, 1] < 0 < offsets[2, 1]  # beside each other
    np.testing.assert_allclose(first.lines[0].get_xdata(), [45, 45])
    np.testing.assert_allclose(second.collections[0].get_offsets(), [[70, 1]])
    assert len(first.collections[1].get_facecolor()) == 0  # open: judged on select


def test_the_best_of_n_is_drawn_against_n(drawn):
    draw_best_of(
        {"s": {"FocusNet": [0.5, 0.6], "label smoothing": np.array([0.4, 0.45, 0.5])}},
        {"s": 0.48},
    )
    axes = drawn[0].axes[0]
    template, focusnet, smoothing = axes.lines
    np.testing.assert_allclose(template.get_ydata(), [48, 48])
    np.testing.assert_allclose(focusnet.get_xydata(), [[1, 50], [2, 60]])
    np.testing.assert_allclose(smoothing.get_xydata(), [[1, 40], [2, 45], [3, 50]])


@pytest.mark.parametrize("published", [{}, {"others": {5.0: 42.0, 25.0: 50.0}}])
def test_a_single_training_has_an_open_marker_and_published_points_are_grey(drawn, published):
    rows = [("template", 25, 0.5, 0.45, 0.55, 1), ("template", 100, 0.6, 0.58, 0.62, 5)]
    curve = pd.DataFrame(rows, columns=["curve", "subset", "accuracy", "low", "high", "seeds"])
    draw_subset_curve(curve, published, "training data (%)")
    axes = drawn[0].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [50, 60])
    opened = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(opened[0].get_ydata(), [50])
    shown = {line.get_label(): line for line in axes.lines}
    assert ("others" in shown) == bool(published)
    if published:
        np.testing.assert_allclose(shown["others"].get_ydata(), [42, 50])
        assert shown["others"].get_color() == "#555555"
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == (["5", "25", "100"] if published else ["25", "100"])
