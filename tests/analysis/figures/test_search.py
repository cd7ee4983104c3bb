"""Figures of a search, read back from their axes."""

import numpy as np
import pytest
from results_folder import finished, two_strata, write_study

from analysis.figures.search import draw_gains, draw_two_parameters, draw_warm_classes
from analysis.read_study import read_study


@pytest.mark.parametrize(
    ("weight", "expected", "side"), [(9.9, ["edge"], "right"), (0.1, ["edge"], "left"), (1, [], "")]
)
def test_a_winner_at_the_edge_of_its_range_is_labelled(tmp_path, drawn, weight, expected, side):
    trials = [finished("a", 25, weight=weight, threshold=0.3)]
    study = read_study(write_study(tmp_path / "s", trials))
    draw_gains(study, list(study.parameters.values()))
    of_weight, of_threshold = drawn[0].axes
    assert [text.get_text() for text in of_weight.texts] == expected
    assert [text.get_ha() for text in of_weight.texts] == [side] * len(expected)
    assert list(of_threshold.texts) == []


def test_gains_are_drawn_against_the_size_of_the_masks(tmp_path, drawn):
    trials = [
        finished("a", 25, select=0.7, **{"focus/warm_classes": 1.0}),
        finished("b", 25, select=0.6, **{"focus/warm_classes": 3.0}),
    ]
    draw_warm_classes(read_study(write_study(tmp_path / "s", trials)))
    axes = drawn[0].axes[0]
    points, ring = axes.collections
    np.testing.assert_allclose(points.get_offsets(), [[1, 20], [3, 10]])
    np.testing.assert_allclose(ring.get_offsets(), [[1, 20]])
    assert axes.get_xlabel().startswith("warm classes per training clip")


def test_two_parameters_have_a_panel_per_stratum_and_one_scale_of_gains(tmp_path, drawn):
    study = read_study(two_strata(tmp_path / "s"))
    draw_two_parameters(study, *study.parameters.values())
    small, large, bar = drawn[0].axes
    assert (small.get_title(), large.get_title()) == ("subset 25", "subset 100")
    np.testing.assert_allclose(small.collections[0].get_offsets()[1], [2.0, 0.3])
    np.testing.assert_allclose(small.collections[0].get_array(), [5, 20, 10])
    assert small.collections[0].get_clim() == pytest.approx((-30, 30))
    assert large.collections[0].get_clim() == pytest.approx((-30, 30))
    assert (small.get_xscale(), small.get_yscale()) == ("log", "linear")
    assert bar.get_ylabel() == "gain on select (points)"
