"""What a working copy uploads and downloads, and what it leaves alone."""

import os

import pytest
from flaky_files import FlakyFileSystem, flaky_folder

from study.errors import Unreachable
from study.remote.mirror import WorkingCopy


@pytest.fixture
def remote():
    return flaky_folder()


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def copy(here, remote):
    return WorkingCopy(here, remote, lambda name: not name.endswith(".lock"))


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def listed(remote):
    return {name: remote.read(name).decode() for name in remote.list_files()}


def test_a_push_uploads_changes_and_removes_deleted_files(copy, here, remote):
    put(here / "a", "1")
    put(here / "t/b", "2")
    put(here / "t/x.lock", "not selected")
    put(here / ".a.123.part", "half written")
    copy.push()
    assert listed(remote) == {"a": "1", "t/b": "2"}
    FlakyFileSystem.names.clear()
    copy.push()
    assert FlakyFileSystem.names == [], "nothing has changed"
    put(here / "a", "one")
    (here / "t/b").unlink()
    copy.push()
    assert listed(remote) == {"a": "one"}


def test_first_and_last_files_are_uploaded_in_order(here, remote):
    copy = WorkingCopy(here, remote, lambda name: True, first=["z"], last=["result", "ended"])
    for name in ("ended", "result", "a", "t/y", "z"):
        put(here / name, "1")
    copy.push()
    assert [path.removeprefix("/studies/") for path in FlakyFileSystem.names] == [
        *("z", "a", "t/y", "result", "ended")
    ]


def test_an_interrupted_push_leaves_out_the_last_files(here, remote):
    copy = WorkingCopy(here, remote, lambda name: True, last=["result"])
    for name in ("predictions", "result"):
        put(here / name, "1")
    FlakyFileSystem.fuse = 3
    with pytest.raises(Unreachable):
        copy.push()
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    assert "result" not in listed(remote)
    copy.push()
    assert listed(remote) == {"predictions": "1", "result": "1"}


def test_a_push_of_one_file_or_without_some(copy, here, remote):
    for name in ("a", "b", "c"):
        put(here / name, "1")
    copy.push(only="b")
    assert listed(remote) == {"b": "1"}
    copy.push(exclude=("c",))
    assert listed(remote) == {"a": "1", "b": "1"}


def test_a_pull_downloads_changes_and_deletes_removed_files(copy, here, remote):
    remote.write("t/started.json", b"1")
    remote.write("t/waiting.json", b"w")
    assert copy.pull() == {"t/started.json", "t/waiting.json"}
    assert copy.pull() == set()
    remote.write("t/started.json", b"two")
    remote.remove(["t/waiting.json"])
    remote.write("other", b"o")
    assert copy.pull("t") == {"t/started.json", "t/waiting.json"}
    assert sorted(p.name for p in here.rglob("*") if p.is_file()) == ["started.json"]
    assert (here / "t/started.json").read_text() == "two"
    FlakyFileSystem.names.clear()
    copy.push()
    assert FlakyFileSystem.names == [], "downloaded files are not uploaded again"


def test_a_pull_does_not_undo_local_changes(copy, here, remote):
    for name in ("a", "b", "c"):
        remote.write(name, b"old")
    copy.pull()
    put(here / "a", "new here")
    (here / "b").unlink()
    put(here / "d", "new here")
    remote.write("a", b"new there")
    remote.write("b", b"new there")
    remote.remove(["c"])
    copy.pull()
    assert {p.name: p.read_text() for p in here.iterdir()} == {"a": "new here", "d": "new here"}
    copy.push()
    assert listed(remote) == {"a": "new here", "d": "new here"}


def test_a_pull_with_overwrite_makes_the_folder_equal_to_the_remote_one(copy, here, remote):
    put(here / "only here", "x")
    put(here / "both", "here")
    put(here / "own.lock", "stays")
    remote.write("both", b"there")
    copy.pull(overwrite=True, delete=False)
    assert (here / "only here").exists()
    copy.pull(overwrite=True)
    assert {p.name: p.read_text() for p in here.iterdir()} == {"both": "there", "own.lock": "stays"}


def test_equal_files_of_an_earlier_process_are_not_downloaded_again(copy, here, remote):
    remote.write("a", b"1")
    remote.write("b", b"1")
    copy.pull(overwrite=True)
    remote.write("b", b"2")
    os.utime(here / "b", (0, 0))
    again = WorkingCopy(here, remote, lambda name: True)
    assert again.pull(overwrite=True) == {"b"}


def test_a_folder_that_is_suddenly_empty_counts_as_an_outage(copy, here, remote):
    remote.write("t/trial.json", b"1")
    copy.pull()
    remote.remove(["t/trial.json"])
    with pytest.raises(Unreachable, match="suddenly empty"):
        copy.pull("t")
    assert (here / "t/trial.json").exists()
