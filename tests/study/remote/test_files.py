"""Files at an address are there whole or not at all, and errors say what to do."""

import os

import fsspec
import pytest
from flaky_files import FlakyFileSystem, flaky_place

from focusnet.errors import ConfigError, DataError
from study.errors import Unreachable
from study.remote.files import check_place, is_leftover, open_place, remove_leftovers

BIG = b"0123456789" * 1_000_000  # over the size that is sent in one request


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    if request.param == "file":
        return open_place(f"file://{tmp_path}/remote")
    fsspec.filesystem("memory").store.clear()
    return open_place("memory://remote")


def test_what_was_written_is_read_and_listed(place):
    assert place.read("a/b.json") is None
    assert place.listing() == {}
    place.write("a/b.json", b"one")
    place.write("a/b.json", b"three")
    place.write("c", b"")
    assert place.read("a/b.json") == b"three"
    assert {name: found.size for name, found in place.listing().items()} == {"a/b.json": 5, "c": 0}
    assert list(place.listing("a")) == ["a/b.json"]
    assert list(place.below("a").listing()) == ["b.json"]
    assert place.match("*/b.json") == ["a/b.json"]
    place.remove(["a/b.json", "was/never/there"])
    assert list(place.listing()) == ["c"]


def test_files_of_any_size_go_up_and_come_down(place, tmp_path):
    (tmp_path / "big").write_bytes(BIG)
    (tmp_path / "small").write_bytes(b"small")
    place.upload(tmp_path / "big", "x/big")
    place.upload(tmp_path / "small", "small")
    place.move("x/big", "y/big")
    place.download(["y/big", "small"], tmp_path / "down")
    assert (tmp_path / "down" / "y" / "big").read_bytes() == BIG
    assert (tmp_path / "down" / "small").read_bytes() == b"small"
    assert sorted(place.listing()) == ["small", "y/big"]
    left = [p.name for p in (*tmp_path.iterdir(), *(tmp_path / "down").iterdir())]
    assert not [name for name in left if is_leftover(name)]
    with pytest.raises(FileNotFoundError):
        place.upload(tmp_path / "gone", "gone")
    with pytest.raises(FileNotFoundError):
        place.download(["gone"], tmp_path / "down")


def test_of_two_that_create_a_file_one_is_told_that_it_was_there(place):
    assert place.create("x/lease", b"first")
    assert not place.create("x/lease", b"second")
    assert place.read("x/lease") == b"first"
    assert list(place.listing()) == ["x/lease"]


def test_a_file_whose_upload_fails_is_not_there():
    place = flaky_place()
    place.write("trial.json", b"before")
    FlakyFileSystem.fuse = 1  # written beside, not renamed
    with pytest.raises(Unreachable, match=r"flaky://.*studies: OSError: the network is down"):
        place.write("trial.json", b"after")
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    assert place.read("trial.json") == b"before"


@pytest.mark.parametrize(
    "act",
    [
        lambda place: place.listing(),
        lambda place: place.read("a"),
        lambda place: place.create("a", b""),
        lambda place: place.remove(["a"]),
        lambda place: place.move("a", "b"),
    ],
)
def test_every_failure_of_the_network_is_one_error(act):
    place = flaky_place()
    FlakyFileSystem.down = True
    with pytest.raises(Unreachable, match="the network is down"):
        act(place)


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path):
    place = open_place(f"file://{tmp_path}/remote")
    (tmp_path / "remote").write_text("a file where the folder was")
    with pytest.raises(Unreachable):
        place.below("x").listing()


def test_a_name_that_leaves_its_folder_is_refused(monkeypatch):
    place = flaky_place()
    outside = {f"{place.root}/../x": {"type": "file", "size": 1}}
    monkeypatch.setattr(FlakyFileSystem, "find", lambda *args, **kwargs: outside)
    with pytest.raises(DataError, match=r"name leaves it: '\.\./x'"):
        place.listing()


def test_what_the_address_lacks_is_said_before_anything_starts(monkeypatch):
    with pytest.raises(ConfigError, match="nosuch://x: ValueError: Protocol not known: nosuch"):
        open_place("nosuch://x")

    def missing(protocol):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.get_filesystem_class", missing)
    needed = "s3://bucket/x: s3:// needs another package: pip install s3fs, on every node"
    with pytest.raises(ConfigError, match=needed):
        open_place("s3://bucket/x")


def test_an_address_that_refuses_is_told_in_its_own_words():
    place = flaky_place()
    check_place(place)
    assert place.listing() == {}, "the probe is gone"
    FlakyFileSystem.down = True
    with pytest.raises(ConfigError) as told:
        check_place(place)
    first, second = told.value.problems
    assert first == f"--results {place.url}: OSError: the network is down"
    assert second.startswith("It cannot be read: credentials")
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, 1
    with pytest.raises(ConfigError, match="It cannot be written"):
        check_place(place)


def test_addresses_of_one_folder_share_a_working_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = {open_place(f"file://{p}").hash for p in (f"{tmp_path}/x", f"{tmp_path}/x/", "x")}
    assert len(same) == 1
    assert open_place(f"file://{tmp_path}/y").hash not in same


def test_leftovers_of_killed_processes_go(tmp_path):
    for name in ("a/.pushed-1.part", ".pulled-1/0", "a/keep.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        assert is_leftover(name) == ("keep" not in name)
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["keep.json"]
    assert os.listdir(tmp_path) == ["a"]
