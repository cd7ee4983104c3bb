"""Leaks between the splits, compared with a search over all pairs of clips."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from focusnet.dataset.check_splits import shared_locations, shared_recordings
from focusnet.dataset.layout import Dataset

clip = st.tuples(
    st.sampled_from(["bus", "tram"]),
    st.sampled_from(["lyon-1", "lyon-2", "paris-3", "paris-4"]),
    st.integers(0, 2),  # recording at that place
    st.sampled_from(["train", "test", "neither"]),
)


def dataset_of(rows) -> Dataset:
    clips = pd.DataFrame(
        [(scene, place, f"{scene}-{place}-{n}") for scene, place, n, _ in rows],
        columns=["scene", "location", "recording"],
    )
    split = np.array([part for *_, part in rows])
    train, test = (np.flatnonzero(split == part) for part in ("train", "test"))
    return Dataset(Path("/data"), clips, ("bus", "tram"), ("a",), train, test, "")


def pairs(rows):
    """All pairs of a training and a test clip."""
    train, test = ([row for row in rows if row[3] == part] for part in ("train", "test"))
    return [(one, other) for one in train for other in test]


@given(st.lists(clip, max_size=25))
def test_recordings_shared_by_a_training_and_a_test_clip_are_found(rows):
    leaking = {one[:3] for one, other in pairs(rows) if one[:3] == other[:3]}
    clips = sum(row[3] == "test" and row[:3] in leaking for row in rows)
    found = shared_recordings(dataset_of(rows))
    assert len(found) == bool(leaking)
    if leaking:
        assert found[0].startswith(f"leak: recordings in training and in test: {len(leaking)} (")
        assert f", with {clips} of " in found[0]


@given(st.lists(clip, max_size=25))
def test_locations_shared_by_a_training_and_a_test_clip_are_found(rows):
    places = {one[:2] for one, other in pairs(rows) if one[:2] == other[:2]}
    clips = sum(row[3] == "test" and row[:2] in places for row in rows)
    shared = {one[1] for one, other in pairs(rows) if one[1] == other[1]}
    others = shared - {place for _, place in places}
    found = shared_locations(dataset_of(rows))
    assert len(found) == bool(places) + bool(others)
    if places:
        assert f"with one scene in training and in test: {len(places)} (" in found[0]
        assert f", with {clips} of " in found[0]
    if others:
        assert f"different scenes in training and in test: {len(others)} (" in found[-1]
