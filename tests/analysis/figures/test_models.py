"""Figures of confusions and learning curves, read back from their axes."""

import copy

import numpy as np
import pytest
from results_folder import SPACE, epochs, finished, predictions, two_strata, write_study

from analysis.figures.models import draw_confusions, draw_learning_curves
from analysis.figures.search import draw_gains
from analysis.read_study import read_study


@pytest.fixture
def study(tmp_path):
    return read_study(two_strata(tmp_path / "small"))


def test_confusions_share_one_scale_and_show_their_numbers(study, drawn):
    draw_confusions(study.largest.clips)
    template, focus, bar = drawn[0].axes
    assert [axes.images[0].get_clim() for axes in (template, focus)] == [(0, 100)] * 2
    # Park first: bus and tram are confused with each other.
    names = [label.get_text() for label in template.get_yticklabels()]
    assert names == ["park", "bus", "tram"]
    np.testing.assert_allclose(
        template.images[0].get_array(), [[75, 25, 0], [0, 50, 50], [0, 50, 50]]
    )
    assert [text.get_text() for text in focus.texts] == ["75", "25", "75", "25", "100"]
    assert (template.get_title(), focus.get_title()) == ("template", "FocusNet")
    assert "%" in bar.get_ylabel()


def test_every_axis_has_its_label(study, drawn):
    draw_gains(study, list(study.parameters.values()))
    draw_learning_curves(study, study.winners)
    gains, curves = drawn
    assert gains.axes[0].get_ylabel() == "gain on select (points)"
    assert [axes.get_xlabel() for axes in gains.axes] == [
        "focus.weight (factor)",
        "focus.threshold (probability)",
    ]
    assert curves.axes[0].get_ylabel() == "macro accuracy on select (%)"
    assert {axes.get_xlabel() for axes in curves.axes} == {"epoch of the stage"}
    assert [axes.get_title() for axes in curves.axes] == ["subset 25", "subset 100"]


def test_gains_are_in_points_and_the_axis_spans_the_searched_range(study, drawn):
    draw_gains(study, list(study.parameters.values()))
    weight, threshold = drawn[0].axes
    assert (weight.get_xscale(), threshold.get_xscale()) == ("log", "linear")
    low, high = weight.get_xlim()
    assert 0 < low < 0.1
    assert 10 < high < 20
    points, ring = weight.collections[:2]
    np.testing.assert_allclose(sorted(points.get_offsets()[:, 0]), [0.5, 1.0, 2.0])
    np.testing.assert_allclose(sorted(points.get_offsets()[:, 1]), [5, 10, 20])
    np.testing.assert_allclose(ring.get_offsets(), [[2.0, 20]])
    entries = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert entries == ["subset 25", "subset 100"]


def test_curves_are_in_percent_and_fit_their_axes(study, drawn):
    draw_learning_curves(study, study.winners)
    small, large = drawn[0].axes
    template, focus, chance = small.lines
    np.testing.assert_allclose(template.get_xydata(), [[1, 20], [2, 30], [3, 50]])
    np.testing.assert_allclose(focus.get_ydata(), [10, 40, 70])
    np.testing.assert_allclose(chance.get_ydata(), 100 / 3)
    for axes in (small, large):
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] >= 90


def test_strata_and_stages_differ_in_more_than_colour(study, drawn):
    draw_gains(study, list(study.parameters.values()))
    draw_learning_curves(study, study.winners)
    points = drawn[0].axes[0].collections[::2]
    assert len({len(one.get_paths()[0].vertices) for one in points}) == 2  # circle and square
    lines = drawn[1].axes[0].lines
    assert len({line.get_linestyle() for line in lines}) == 3


def test_a_winner_without_epochs_of_its_template_has_one_curve(tmp_path, drawn):
    folder = write_study(
        tmp_path / "s",
        [finished("a", 25)],
        lines=epochs("a", "focus", [0.2]),
        predicted={"a": predictions()},
    )
    study = read_study(folder)
    draw_learning_curves(study, study.winners)
    assert [line.get_label() for line in drawn[0].axes[0].lines] == ["FocusNet", "chance"]


def test_choices_have_ticks_at_their_values(tmp_path, drawn):
    space = copy.deepcopy(SPACE)
    space["space"]["focus.weight"] = {"choice": [0.5, 1, 4]}
    study = read_study(write_study(tmp_path / "s", [finished("a", 25)], space=space))
    draw_gains(study, list(study.parameters.values()))
    assert list(drawn[0].axes[0].get_xticks()) == [0.5, 1, 4]
