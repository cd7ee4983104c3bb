"""Confusions of ten clips, against counts by hand."""

import numpy as np
from results_folder import predictions

from analysis.tables.confusions import (
    confusion_percent,
    most_confused,
    order_by_confusion,
    pair_confusions,
)
from analysis.tables.predictions import paired_clips


def test_percentages_are_of_the_true_scene():
    clips = paired_clips(predictions(), "report")
    np.testing.assert_allclose(
        confusion_percent(clips, "template"), [[50, 0, 50], [25, 75, 0], [50, 0, 50]]
    )
    np.testing.assert_allclose(
        confusion_percent(clips, "focus"), [[75, 0, 25], [0, 75, 25], [0, 0, 100]]
    )


def test_a_pair_is_confused_in_both_directions():
    pairs = pair_confusions(paired_clips(predictions(), "report"))
    found = {(row.one, row.other): (row.template, row.focus) for row in pairs.itertuples()}
    assert found == {
        ("bus", "park"): (12.5, 0.0),
        ("bus", "tram"): (50.0, 12.5),
        ("park", "tram"): (0.0, 12.5),
    }


def test_the_most_confused_pairs_are_those_before_and_those_after():
    clips = paired_clips(predictions(), "report")
    both = most_confused(clips, most=2)
    # The template never confuses park and tram; FocusNet confuses only one pair more.
    assert [(row.one, row.other) for row in both.itertuples()] == [
        ("bus", "tram"),
        ("bus", "park"),
        ("park", "tram"),
    ]
    assert list(both["template_rank"]) == [1, 2, 3]
    assert list(both["focus_rank"]) == [1, 3, 2]
    one = most_confused(clips, most=1)
    assert [(row.one, row.other) for row in one.itertuples()] == [("bus", "tram")]


def test_pairs_that_are_never_confused_are_not_listed():
    perfect = [("bus", "1", "a", "bus", "bus"), ("park", "2", "a", "park", "park")]
    assert most_confused(paired_clips(predictions(perfect), "report")).empty


def test_a_scene_without_clips_has_no_percentages_and_no_pairs():
    two = [("bus", "1", "a", "park", "bus"), ("park", "2", "a", "tram", "park")]
    clips = paired_clips(predictions(two), "report")
    assert np.isnan(confusion_percent(clips, "template")[2]).all()
    pairs = pair_confusions(clips)
    assert [(row.one, row.other, row.template) for row in pairs.itertuples()] == [
        ("bus", "park", 50.0)
    ]


def test_scenes_that_are_confused_with_each_other_are_next_to_each_other():
    # 0 with 3, and 1 with 4; 2 with nobody, and it has no clips.
    shares = np.diag([60.0, 70.0, np.nan, 80.0, 50.0])
    shares[0, 3], shares[3, 0], shares[1, 4], shares[4, 1] = 40, 20, 30, 50
    order = order_by_confusion(shares).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(4)) == 1
    assert order_by_confusion(np.eye(2)).tolist() == [0, 1]
