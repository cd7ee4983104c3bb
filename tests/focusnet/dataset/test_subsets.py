"""Training subsets: official lists as they are; drawn ones nested, balanced, whole recordings."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.dataset.subsets import training_subset
from focusnet.errors import DataError


def dataset_of(recordings: list[tuple[str, str, int]]) -> Dataset:
    """A data set in memory of (scene, device, number of clips); its last clip is the test split."""
    rows = [
        (f"{scene}-{number}-{piece}-{device}.wav", scene, device, f"{scene}-{number}-{device}")
        for number, (scene, device, pieces) in enumerate(recordings)
        for piece in range(pieces)
    ]
    rows.append(("test.wav", recordings[0][0], "a", "test"))
    clips = pd.DataFrame(rows, columns=["filename", "scene", "device", "recording"])
    classes = tuple(sorted(clips["scene"].unique()))
    train = np.arange(len(rows) - 1)
    return Dataset(Path("/nowhere"), clips, classes, ("a",), train, np.array([len(train)]), "")


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    order = np.random.default_rng(seed).permutation(len(dataset.clips))
    clips = dataset.clips.iloc[order].reset_index(drop=True)
    train = np.flatnonzero(order != dataset.test[0])
    test = np.flatnonzero(order == dataset.test[0])
    return Dataset(dataset.root, clips, dataset.classes, ("a",), train, test, "")


recording = st.tuples(
    st.sampled_from(["bus", "metro", "park"]), st.sampled_from(["a", "b", "s1"]), st.integers(1, 5)
)
datasets = st.lists(recording, min_size=1, max_size=60).map(dataset_of)
percents = st.integers(1, 100)
seeds = st.integers(0, 3)


@given(datasets, percents, percents, seeds)
def test_a_smaller_subset_is_part_of_a_larger_one(dataset, one, other, seed):
    small, large = sorted((one, other))
    inner = training_subset(dataset, small, seed)
    assert set(inner) <= set(training_subset(dataset, large, seed)) <= set(dataset.train)
    assert inner.dtype == np.int64
    assert np.all(np.diff(inner) > 0)


@given(datasets, percents, seeds)
def test_a_subset_has_whole_recordings(dataset, percent, seed):
    chosen = dataset.clips.iloc[training_subset(dataset, percent, seed)]
    sizes = dataset.clips.groupby("recording").size()
    assert (
        chosen.groupby("recording")
        .size()
        .eq(sizes, fill_value=0)[chosen["recording"].unique()]
        .all()
    )


@given(datasets, percents, seeds)
def test_the_size_is_right_to_half_a_recording_and_no_class_is_lost(dataset, percent, seed):
    chosen = dataset.clips.iloc[training_subset(dataset, percent, seed)]
    assert set(chosen["scene"]) == set(dataset.classes)
    sizes = chosen.groupby("recording").size()
    target = len(dataset.train) * percent / 100
    only_one_each = len(sizes) == len(dataset.classes)
    largest = dataset.clips.groupby("recording").size().max()
    assert only_one_each or abs(len(chosen) - target) <= largest / 2


@given(datasets, percents, seeds, st.integers(0, 5))
def test_the_draw_does_not_depend_on_the_order_of_rows(dataset, percent, seed, order):
    mixed = shuffled(dataset, order)
    names = dataset.clips["filename"].iloc[training_subset(dataset, percent, seed)]
    mixed_names = mixed.clips["filename"].iloc[training_subset(mixed, percent, seed)]
    assert set(names) == set(mixed_names)


@given(datasets)
def test_100_percent_are_all_clips(dataset):
    np.testing.assert_array_equal(training_subset(dataset, 100, 0), dataset.train)


def study_sized() -> Dataset:
    """Ten scenes of 40 recordings: 20 of device a, 4 of each other device."""
    devices = ["a"] * 20 + ["b", "c", "s1", "s2", "s3"] * 4
    return dataset_of([(f"scene{n}", device, 4) for n in range(10) for device in devices])


@pytest.mark.parametrize("percent", [5, 10, 25, 50, 75])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scenes_and_devices_keep_their_shares(percent, seed):
    dataset = study_sized()
    chosen = dataset.clips.iloc[training_subset(dataset, percent, seed)]
    chosen = chosen.drop_duplicates("recording")
    expected = 40 * percent / 100
    scenes = chosen["scene"].value_counts()
    assert len(scenes) == 10
    assert scenes.between(expected - 1, expected + 1).all()
    by_device = chosen.groupby(["scene", "device"]).size().unstack(fill_value=0)
    for device, share in {"a": 0.5, "b": 0.1, "s3": 0.1}.items():
        assert by_device[device].between(expected * share - 2, expected * share + 2).all()
    assert chosen["device"].eq("a").mean() == pytest.approx(0.5, abs=0.1)


def test_another_seed_draws_other_recordings():
    dataset = study_sized()
    zero, one = (set(training_subset(dataset, 25, seed)) for seed in (0, 1))
    assert len(zero & one) < 0.5 * len(zero)


@pytest.mark.parametrize("percent", [0, 101, -5])
def test_a_percentage_outside_0_to_100_is_a_value_error(percent):
    with pytest.raises(ValueError, match=f"received {percent}"):
        training_subset(study_sized(), percent, 0)


@pytest.fixture
def with_setup(tmp_path, write_layout, clip):
    train = [clip(s, f"lyon-{n}", "a", piece=p) for s in ("bus", "tram") for n in range(5)
             for p in range(2)]  # fmt: skip
    test = [clip("bus", "oslo-1"), clip("tram", "oslo-2")]
    return read_dataset(write_layout(tmp_path / "data", train, test))


def write_official(dataset: Dataset, percent: int, rows: list[int], header="filename", more=""):
    path = dataset.root / "evaluation_setup" / f"split{percent}.csv"
    names = dataset.clips["filename"].iloc[rows]
    path.write_text(header + "\n" + "".join(f"{name}{more}\n" for name in names))
    return path


def test_the_official_subset_is_used_as_it_is(with_setup):
    write_official(with_setup, 10, [11, 3, 0])
    for seed in (0, 1):
        assert training_subset(with_setup, 10, seed).tolist() == [0, 3, 11]
    assert len(training_subset(with_setup, 20, 0)) == 4  # no split20.csv: drawn


def test_an_official_list_of_100_percent_is_used(with_setup):
    assert len(training_subset(with_setup, 100, 0)) == 20
    write_official(with_setup, 100, [0, 1, 2, 13])
    assert training_subset(with_setup, 100, 0).tolist() == [0, 1, 2, 13]


def test_an_official_subset_with_other_clips_or_without_a_class_is_an_error(with_setup):
    path = write_official(with_setup, 5, [0, 1, 20])
    with pytest.raises(DataError) as caught:
        training_subset(with_setup, 5, 0)
    assert caught.value.problems == [
        f"{path}: clips outside the training split: 1, such as 'audio/bus-oslo-1-0-0-a.wav'",
        f"{path}: has no clip of tram",
    ]
    write_official(with_setup, 5, [0, 12], "filename\tscene_label", "\tbus")
    with pytest.raises(DataError, match="scene_label differs from that in"):
        training_subset(with_setup, 5, 0)
    path.write_text("name\n")
    with pytest.raises(DataError, match=r"split5.csv: missing column 'filename'"):
        training_subset(with_setup, 5, 0)


@pytest.mark.slow
@pytest.mark.esc10
def test_official_subsets_of_real_recordings_are_nested(esc10_root):
    dataset = read_dataset(esc10_root)
    subsets = [training_subset(dataset, percent, 0) for percent in (5, 10, 25, 50, 100)]
    for inner, outer in pairwise(subsets):
        assert set(inner) < set(outer)
    np.testing.assert_array_equal(subsets[-1], dataset.train)
