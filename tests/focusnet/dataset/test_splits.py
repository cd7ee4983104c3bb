"""The halves of the test split: by location, every scene in both, always the same."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.dataset.splits import split_by_location
from focusnet.errors import DataError


def dataset_of(scenes_of: dict[str, list[str]], clips_each: int = 2, order: int = 0) -> Dataset:
    """A data set in memory: test clips of each scene at each location."""
    classes = tuple(sorted({scene for scenes in scenes_of.values() for scene in scenes}))
    rows = [(scene, f"train-{scene}") for scene in classes]
    test = [(s, place) for place, scenes in scenes_of.items() for s in scenes] * clips_each
    rows += [test[i] for i in np.random.default_rng(order).permutation(len(test))]
    clips = pd.DataFrame(rows, columns=["scene", "location"])
    n = len(classes)
    return Dataset(Path("root"), clips, classes, (), np.arange(n), np.arange(n, len(rows)), "")


def locations_of(dataset: Dataset) -> dict[str, set[str]]:
    halves = split_by_location(dataset)
    return {half: set(dataset.clips["location"].iloc[rows]) for half, rows in halves.items()}


counts = st.dictionaries(
    st.sampled_from(["bus", "metro", "park", "tram"]), st.integers(2, 9), min_size=1
)


@given(counts, st.integers(0, 3))
def test_each_half_has_half_of_the_locations_of_each_scene(counts, order):
    places = {f"{s}city-{n}": [s] for s, count in counts.items() for n in range(count)}
    dataset = dataset_of(places, order=order)
    halves = split_by_location(dataset)
    assert list(halves) == ["select", "report"]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(halves.values()))), dataset.test)
    found = [dataset.clips.iloc[rows] for rows in halves.values()]
    assert not set(found[0]["location"]) & set(found[1]["location"])
    for scene, count in counts.items():
        numbers = [part["location"][part["scene"] == scene].nunique() for part in found]
        assert sorted(numbers) == [count // 2, count - count // 2]
    assert abs(found[0]["location"].nunique() - found[1]["location"].nunique()) <= 4
    assert all(rows.dtype == np.int64 and np.all(np.diff(rows) > 0) for rows in halves.values())


@given(counts, st.integers(1, 3), st.integers(1, 9))
def test_the_halves_do_not_depend_on_the_order_or_number_of_clips(counts, clips_each, order):
    places = {f"{s}city-{n}": [s] for s, count in counts.items() for n in range(count)}
    assert locations_of(dataset_of(places)) == locations_of(dataset_of(places, clips_each, order))


shared = st.dictionaries(
    st.sampled_from([f"city-{n}" for n in range(8)]),
    st.lists(st.sampled_from(["bus", "metro", "park"]), min_size=1, max_size=3, unique=True),
    min_size=2,
)


@given(shared)
def test_a_location_shared_by_scenes_is_in_one_half_and_every_scene_in_both(places):
    by_scene: dict[str, list[str]] = {}
    for place, scenes in places.items():
        for scene in scenes:
            by_scene.setdefault(scene, []).append(place)
    assume(all(len(found) >= 2 for found in by_scene.values()))
    dataset = dataset_of(places)
    try:
        halves = split_by_location(dataset)
    except DataError:
        # An error only where none of all possible splits would do.
        for bits in product((0, 1), repeat=len(places)):
            half = dict(zip(places, bits, strict=True))
            assert any(len({half[p] for p in found}) < 2 for found in by_scene.values())
        return
    found = {name: dataset.clips.iloc[rows] for name, rows in halves.items()}
    assert not set(found["select"]["location"]) & set(found["report"]["location"])
    assert set(found["select"]["scene"]) == set(found["report"]["scene"]) == set(by_scene)


def test_an_impossible_split_is_an_error_with_the_reason():
    triangle = {"x-1": ["bus", "park"], "x-2": ["park", "tram"], "x-3": ["tram", "bus"]}
    with pytest.raises(DataError, match=r"3 locations are shared among scenes \(x-1, x-2, x-3\)"):
        split_by_location(dataset_of(triangle))


def test_every_scene_with_too_few_locations_is_named():
    dataset = dataset_of({"lyon-1": ["bus"], "lyon-2": ["park"], "lyon-3": ["park"]})
    dataset = Dataset(**{**vars(dataset), "classes": ("bus", "park", "tram")})
    with pytest.raises(DataError) as caught:
        split_by_location(dataset)
    assert len(caught.value.problems) == 2
    assert "scene 'bus' has 1 test location (lyon-1)" in caught.value.problems[0]
    assert "at least 2" in caught.value.problems[0]
    assert "scene 'tram' has 0 test locations" in caught.value.problems[1]


def test_the_halves_are_those_of_published_results():
    """Golden: a change here makes every published select and report figure incomparable."""
    places = {f"lyon-{n}": ["bus" if n % 2 else "park"] for n in range(8)}
    select = locations_of(dataset_of(places))["select"]
    assert select == {"lyon-0", "lyon-2", "lyon-5", "lyon-7"}


@pytest.mark.slow
@pytest.mark.esc10
def test_real_recordings_are_split_evenly(esc10_root):
    dataset = read_dataset(esc10_root)
    parts = [dataset.clips.iloc[rows] for rows in split_by_location(dataset).values()]
    numbers = [part.groupby("scene")["location"].nunique() for part in parts]
    assert (numbers[0] - numbers[1]).abs().max() <= 1
    assert len(numbers[0]) == len(numbers[1]) == 10
