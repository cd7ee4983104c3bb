"""Reads the TAU22 layout, and reports all of its problems at once."""

import os
from pathlib import Path

import numpy as np
import pytest

from focusnet.dataset.layout import device_group, read_dataset
from focusnet.errors import DataError


@pytest.fixture
def parts(clip):
    """Training, test and unused clips of a small data set."""
    train = [
        clip("tram", "lyon-1", "a", 7, 0),
        clip("tram", "lyon-1", "a", 7, 1),
        clip("bus", "paris-2", "s1", 7, 0),
        clip("bus", "paris-2", "phone", 7, 0),
    ]
    test = [clip("bus", "lyon-3", "s6"), clip("tram", "lyon-4", "b")]
    return train, test, [clip("zoo", "oslo-9", "c")]


@pytest.fixture
def root(tmp_path, write_layout, parts) -> Path:
    return write_layout(tmp_path / "data", *parts)


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def problems_of(root: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_dataset(root)
    return caught.value.problems


def test_clips_are_in_the_order_of_meta_and_splits_are_rows_of_it(root):
    dataset = read_dataset(root)
    assert dataset.clips["scene"].tolist() == ["tram"] * 2 + ["bus"] * 3 + ["tram", "zoo"]
    assert dataset.train.tolist() == [0, 1, 2, 3]
    assert dataset.test.tolist() == [4, 5]
    assert dataset.train.dtype == dataset.test.dtype == np.int64
    assert dataset.clips["filename"][0] == "audio/tram-lyon-1-7-0-a.wav"
    assert dataset.clips["location"][0] == "lyon-1"
    assert dataset.clips["city"].tolist() == ["lyon"] * 2 + ["paris"] * 2 + ["lyon"] * 2 + ["oslo"]


def test_classes_are_those_of_the_training_split_in_alphabetical_order(root):
    dataset = read_dataset(root)
    assert dataset.classes == ("bus", "tram")
    assert dataset.clips["label"].tolist() == [1, 1, 0, 0, 0, 1, -1]
    assert dataset.clips["label"].dtype == np.int64


def test_devices_are_in_the_order_of_tau_and_then_alphabetical(root):
    assert read_dataset(root).devices == ("a", "b", "c", "s1", "s6", "phone")


def test_device_groups_are_those_of_tau():
    groups = {device: device_group(device) for device in ["a", "c", "s1", "s3", "s4", "s6", "x"]}
    assert groups == {
        "a": "real", "c": "real", "s1": "seen", "s3": "seen", "s4": "unseen", "s6": "unseen",
        "x": None,
    }  # fmt: skip


def test_only_pieces_of_one_recording_share_it(root):
    recordings = read_dataset(root).clips["recording"]
    assert recordings[0] == recordings[1] == "audio/tram-lyon-1-7-a"
    assert recordings.nunique() == len(recordings) - 1


@pytest.mark.parametrize("name", ["x-y-z-1-2-a.wav", "1-137-A-32.wav", "audio/tram-lyon-1-0-a.wav"])
def test_a_clip_without_a_tau_name_is_a_recording_of_its_own(root, name):
    for file in ("meta.csv", "evaluation_setup/fold1_train.csv"):
        replace_in(root / file, "audio/tram-lyon-1-7-0-a.wav", name)
    assert read_dataset(root).clips["recording"][0] == name


def test_a_location_may_be_called_NA_and_files_may_come_from_windows(root, parts):
    replace_in(root / "meta.csv", "\tlyon-1\t", "\tNA\t")
    for path in [root / "meta.csv", *(root / "evaluation_setup").iterdir()]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    dataset = read_dataset(root)
    assert dataset.clips["location"][0] == "NA"
    assert dataset.devices[-1] == "phone"


def test_setup_files_may_lack_scene_label_and_have_other_columns(root, parts):
    path = root / "evaluation_setup" / "fold1_train.csv"
    path.write_text("number\tfilename\n" + "".join(f"1\t{c.filename}\n" for c in parts[0]))
    assert read_dataset(root).train.tolist() == [0, 1, 2, 3]


def test_the_fingerprint_depends_on_the_content_of_the_files_and_not_on_their_times(root):
    before = read_dataset(root).fingerprint
    meta = root / "meta.csv"
    meta.write_bytes(meta.read_bytes().replace(b"\n", b"\r\n"))
    os.utime(meta, (1, 1))
    assert read_dataset(root).fingerprint == before
    replace_in(meta, "\tphone", "\ttablet")
    other_device = read_dataset(root).fingerprint
    (root / "evaluation_setup" / "split5.csv").write_text("filename\n")
    assert len({before, other_device, read_dataset(root).fingerprint}) == 3


def test_the_fingerprint_depends_on_the_splits(tmp_path, write_layout, parts):
    train, test, other = parts
    first = write_layout(tmp_path / "first", train, test, other)
    second = write_layout(tmp_path / "second", train, test, other)
    assert read_dataset(first).fingerprint == read_dataset(second).fingerprint
    write_layout(tmp_path / "third", train[1:], [*train[:1], *test], other)
    third = tmp_path / "third"
    (third / "meta.csv").write_bytes((first / "meta.csv").read_bytes())
    assert read_dataset(first).fingerprint != read_dataset(third).fingerprint


def test_a_missing_folder_is_named(tmp_path):
    assert problems_of(tmp_path / "nowhere")[0].startswith(
        f"{tmp_path / 'nowhere'}: no such folder"
    )


def test_all_missing_files_are_named_at_once(root):
    (root / "meta.csv").unlink()
    (root / "evaluation_setup" / "fold1_evaluate.csv").unlink()
    assert problems_of(root) == [
        f"{root / 'meta.csv'}: no such file",
        f"{root / 'evaluation_setup' / 'fold1_evaluate.csv'}: no such file",
    ]


def test_missing_columns_are_named_with_the_first_line_of_the_file(root):
    meta = root / "meta.csv"
    meta.write_text(meta.read_text().replace("\t", ","))
    (problem,) = problems_of(root)
    assert "meta.csv: missing column 'filename', 'scene_label', 'identifier', 'source_label'" in (
        problem
    )
    assert "'filename,scene_label,identifier,source_label'" in problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable tab separated file"),
        (b"filename\n", "names no clips"),
        (b"\xff\xfe\x00bad", "not a readable tab separated file"),
    ],
)
def test_a_file_without_clips_is_named(root, content, message):
    path = root / "evaluation_setup" / "fold1_train.csv"
    path.write_bytes(content)
    (problem,) = problems_of(root)
    assert problem.startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x.wav", "audio/../../x.wav", "..", "audio\\x.wav", "C:/x.wav", "c:x.wav",
     "audio//x.wav", "./x.wav", "audio/", "a\x00b.wav", ""],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_is_an_error(root, name):
    for file in ("meta.csv", "evaluation_setup/fold1_train.csv"):
        replace_in(root / file, "audio/tram-lyon-1-7-0-a.wav", name)
    assert any("leaves the data set's folder" in problem for problem in problems_of(root))


@pytest.mark.parametrize("name", ["a..b.wav", "audio/..hidden/x.wav", "audio/x..wav", "ü/ñ.wav"])
def test_dots_inside_a_name_are_allowed(root, name):
    for file in ("meta.csv", "evaluation_setup/fold1_train.csv"):
        replace_in(root / file, "audio/tram-lyon-1-7-0-a.wav", name)
    assert read_dataset(root).clips["filename"][0] == name


def test_all_problems_are_listed_in_one_error(tmp_path, write_layout, clip, parts):
    train, test, other = parts
    unknown = [clip("bus", f"rome-{n}") for n in range(1234)]
    root = write_layout(tmp_path / "data", [*train, train[1]], [*test, train[0]], other)
    setup = root / "evaluation_setup"
    with open(setup / "fold1_train.csv", "a") as file:
        file.writelines(f"{one.filename}\tbus\n" for one in unknown)
    with open(setup / "fold1_evaluate.csv", "a") as file:
        file.write(f"{other[0].filename}\tbus\n")
    replace_in(root / "meta.csv", "\tparis-2\tphone", "\t \t")
    problems = problems_of(root)
    text = "\n".join(problems)
    assert f"{root / 'meta.csv'}: named more than once: 'audio/tram-lyon-1-7-1-a.wav'" in text
    assert f"{root / 'meta.csv'}: empty identifier: 'audio/bus-paris-2-7-0-phone.wav'" in text
    assert f"{root / 'meta.csv'}: empty source_label: 'audio/bus-paris-2-7-0-phone.wav'" in text
    assert f"{setup / 'fold1_train.csv'}: named more than once" in text
    assert "not in meta.csv: 'audio/bus-rome-0-0-0-a.wav'" in text
    assert "and 1,229 more" in text
    assert f"{setup / 'fold1_evaluate.csv'}: scene_label differs from that in meta.csv" in text
    assert len(text) < 4000


def test_a_clip_in_training_and_test_is_an_error(tmp_path, write_layout, parts):
    train, test, _ = parts
    root = write_layout(tmp_path / "data", train, test)
    with open(root / "evaluation_setup" / "fold1_evaluate.csv", "a") as file:
        file.write(f"{train[2].filename}\tbus\n")
    (problem,) = problems_of(root)
    assert "in the training split and in the test split" in problem
    assert train[2].filename in problem


def test_a_scene_of_the_test_split_without_training_clips_is_an_error(
    tmp_path, write_layout, parts
):
    train, test, other = parts
    root = write_layout(tmp_path / "data", train, test + other)
    (problem,) = problems_of(root)
    assert "scenes of the test split without a training clip: zoo" in problem


def test_a_single_scene_is_an_error(tmp_path, write_layout, parts):
    train, test, _ = parts
    root = write_layout(tmp_path / "data", train[:2], test[1:])
    (problem,) = problems_of(root)
    assert "needs at least two scenes, has 'tram' only" in problem


@pytest.mark.slow
@pytest.mark.esc10
def test_real_recordings_are_read(esc10_root):
    dataset = read_dataset(esc10_root)
    assert len(dataset.classes) == 10
    assert dataset.devices == ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
    assert len(dataset.train) + len(dataset.test) == len(dataset.clips) > 1300
    training = dataset.clips.iloc[dataset.train]
    assert not set(training["location"]) & set(dataset.clips["location"].iloc[dataset.test])
    assert training.groupby("recording").size().max() == 5
