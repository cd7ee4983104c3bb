"""Folds by location: properties that hold for any data set, and errors."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusnet.dataset.folds import folds_by_location
from focusnet.errors import DataError


@st.composite
def clips(draw, lowest=2):
    """Scenes with ``lowest`` to 9 own locations of 1 to 12 clips each, in any order."""
    rows = []
    for scene in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 12), min_size=lowest, max_size=9))
        rows += [
            (f"s{scene}", f"s{scene}-{i}") for i, size in enumerate(sizes) for _ in range(size)
        ]
    return draw(st.permutations(rows))


@given(clips(), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_no_fold_is_empty_and_no_location_is_split_and_no_scene_is_in_one_fold_only(
    rows, folds, seed
):
    scenes, locations = zip(*rows, strict=True)
    folds = min(folds, len(set(locations)))
    fold_of = folds_by_location(scenes, locations, folds, seed)
    assert set(fold_of.tolist()) == set(range(folds))
    assert len(set(zip(locations, fold_of.tolist(), strict=True))) == len(set(locations))
    assert all(len(set(fold_of[np.array(scenes) == scene])) >= 2 for scene in scenes)


@given(clips(), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_folds_differ_in_clips_of_a_scene_by_at_most_its_largest_location(rows, folds, seed):
    scenes, locations = zip(*rows, strict=True)
    folds = min(folds, len(set(locations)))
    fold_of = folds_by_location(scenes, locations, folds, seed)
    largest: Counter = Counter()
    for (scene, _), count in Counter(rows).items():
        largest[scene] = max(largest[scene], count)
    for scene in set(scenes):
        held = np.bincount(fold_of[np.array(scenes) == scene], minlength=folds)
        assert held.max() - held.min() <= largest[scene]


@given(clips(), st.randoms(use_true_random=False))
def test_folds_do_not_depend_on_the_order_of_the_clips(rows, random):
    before = dict(zip(rows, folds_by_location(*zip(*rows, strict=True), 2, 7), strict=True))
    random.shuffle(rows)
    after = dict(zip(rows, folds_by_location(*zip(*rows, strict=True), 2, 7), strict=True))
    assert before == after


def test_another_seed_gives_other_folds():
    scenes = ["park"] * 20
    locations = [f"paris-{number}" for number in range(20)]
    first, same, other = (folds_by_location(scenes, locations, 5, seed) for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != other).any()
    assert (np.bincount(other) == 4).all()


def test_a_location_of_two_scenes_is_in_one_fold():
    scenes = ["bus", "tram"] * 3 + ["bus", "tram", "bus", "tram"]
    locations = ["x"] * 6 + ["a", "b", "c", "d"]
    fold_of = folds_by_location(scenes, locations, 2, 0)
    assert len(set(fold_of[:6])) == 1
    assert (fold_of[6:] != fold_of[0]).all()


def test_too_few_locations_of_scenes_and_for_the_folds_are_one_error():
    scenes, locations = ["bus", "bus", "park", "park", "tram"], ["a", "a", "b", "c", "d"]
    with pytest.raises(DataError) as refused:
        folds_by_location(scenes, locations, 5, 0)
    problems = refused.value.problems
    assert [re.findall(r"scene '(\w+)' has (\w) only", one) for one in problems] == [
        [("bus", "a")],
        [("tram", "d")],
        [],
    ]
    assert problems[2].startswith("focus.folds: must be at most 4, the locations")
    assert problems[2].endswith("received 5")


def test_a_scene_that_would_be_in_one_fold_only_is_an_error():
    # Two of the three locations must share a fold, and any two are all locations of some scene.
    rows = [("bus", "a"), ("park", "a"), ("tram", "b"), ("park", "b"), ("bus", "c"), ("tram", "c")]
    with pytest.raises(DataError, match=r"would put all clips of (bus|tram|park) into one"):
        folds_by_location(*zip(*rows, strict=True), 2, 0)
