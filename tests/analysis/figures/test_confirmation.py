"""Figures of the confirmation, read back from their axes."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.confirmation import draw_arms, draw_effects, draw_subset_curve


def effects():
    rows = [
        {"stratum": stratum, "against": against, "effect": 0.02, "low": 0.01, "high": 0.04,
         "detectable": 0.03}
        for against in ("template", "placebo")
        for stratum in (25, 100)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.loc[3, ["effect", "low", "high", "detectable"]] = np.nan
    return table


def test_effects_are_in_points_with_intervals_and_detectable_effects(drawn):
    draw_effects(effects(), {25: "subset 25", 100: "subset 100"}, ["its template", "placebo"])
    template, placebo = drawn[0].axes
    lines = [line.get_xydata().tolist() for line in template.lines]
    assert [[1.0, 0.0], [4.0, 0.0]] in [np.round(line, 9).tolist() for line in lines]
    assert sum(line.get_linestyle() == ":" for line in template.lines) == 4
    assert [text.get_text() for text in placebo.texts] == ["not tested"]
    assert [label.get_text() for label in template.get_yticklabels()] == ["subset 25", "subset 100"]
    assert template.get_xlabel() == "effect on report (points)"
    assert template.get_xlim() == placebo.get_xlim()


def test_detectable_effects_do_not_set_the_scale(drawn):
    table = effects().assign(detectable=1.5)
    draw_effects(table, {25: "subset 25", 100: "subset 100"}, ["its template", "placebo"])
    template = drawn[0].axes[0]
    assert template.get_xlim() == pytest.approx((-6, 6))
    assert not [line for line in template.lines if line.get_linestyle() == ":"]


def test_each_training_is_a_point_and_each_arm_has_its_mean(drawn):
    draw_arms({"s": {"template": [0.4, 0.5], "FocusNet": [0.6]}, "t": {"FocusNet": [0.7]}})
    first, second = drawn[0].axes
    offsets = np.concatenate([points.get_offsets() for points in first.collections])
    np.testing.assert_allclose(offsets, [[40, 0], [50, 0], [60, 1]])
    np.testing.assert_allclose(first.lines[0].get_xdata(), [45, 45])
    np.testing.assert_allclose(second.collections[0].get_offsets(), [[70, 1]])
    assert first.get_xlabel() == "macro accuracy on report (%)"


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
