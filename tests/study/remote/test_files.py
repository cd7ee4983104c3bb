"""Remote files are complete or absent, and errors say what to do."""

import os

import fsspec
import pytest
from flaky_files import FlakyFileSystem, flaky_folder

from focusnet.errors import ConfigError, DataError
from study.errors import Unreachable
from study.remote.files import check_access, is_partial, open_folder, remove_partial_files

BIG = b"0123456789" * 1_000_000  # too large for one request


@pytest.fixture(params=["memory", "file"])
def remote(request, tmp_path):
    if request.param == "file":
        return open_folder(f"file://{tmp_path}/remote")
    fsspec.filesystem("memory").store.clear()
    return open_folder("memory://remote")


def test_written_files_are_read_and_listed(remote):
    assert remote.read("a/b.json") is None
    assert remote.list_files() == {}
    remote.write("a/b.json", b"one")
    remote.write("a/b.json", b"three")
    remote.write("c", b"")
    assert remote.read("a/b.json") == b"three"
    assert {name: found.size for name, found in remote.list_files().items()} == {
        "a/b.json": 5,
        "c": 0,
    }
    assert list(remote.list_files("a")) == ["a/b.json"]
    assert list(remote.subfolder("a").list_files()) == ["b.json"]
    assert remote.glob("*/b.json") == ["a/b.json"]
    remote.remove(["a/b.json", "was/never/there"])
    assert list(remote.list_files()) == ["c"]


def test_files_of_any_size_are_uploaded_moved_and_downloaded(remote, tmp_path):
    (tmp_path / "big").write_bytes(BIG)
    (tmp_path / "small").write_bytes(b"small")
    remote.upload(tmp_path / "big", "x/big")
    remote.upload(tmp_path / "small", "small")
    remote.move("x/big", "y/big")
    remote.download(["y/big", "small"], tmp_path / "down")
    assert (tmp_path / "down" / "y" / "big").read_bytes() == BIG
    assert (tmp_path / "down" / "small").read_bytes() == b"small"
    assert sorted(remote.list_files()) == ["small", "y/big"]
    left = [p.name for p in (*tmp_path.iterdir(), *(tmp_path / "down").iterdir())]
    assert not [name for name in left if is_partial(name)]
    with pytest.raises(FileNotFoundError):
        remote.upload(tmp_path / "gone", "gone")
    with pytest.raises(FileNotFoundError):
        remote.download(["gone"], tmp_path / "down")


def test_creating_a_file_that_exists_returns_false(remote):
    assert remote.create("x/lease", b"first")
    assert not remote.create("x/lease", b"second")
    assert remote.read("x/lease") == b"first"
    assert list(remote.list_files()) == ["x/lease"]


def test_a_failed_upload_leaves_the_old_file():
    remote = flaky_folder()
    remote.write("trial.json", b"before")
    FlakyFileSystem.fuse = 1  # the temporary file is written but not renamed
    with pytest.raises(Unreachable, match=r"flaky://.*studies: OSError: the network is down"):
        remote.write("trial.json", b"after")
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    assert remote.read("trial.json") == b"before"


@pytest.mark.parametrize(
    "act",
    [
        lambda remote: remote.list_files(),
        lambda remote: remote.read("a"),
        lambda remote: remote.create("a", b""),
        lambda remote: remote.remove(["a"]),
        lambda remote: remote.move("a", "b"),
    ],
)
def test_every_network_failure_raises_unreachable(act):
    remote = flaky_folder()
    FlakyFileSystem.down = True
    with pytest.raises(Unreachable, match="the network is down"):
        act(remote)


def test_a_folder_that_cannot_be_listed_is_not_reported_as_empty(tmp_path):
    remote = open_folder(f"file://{tmp_path}/remote")
    (tmp_path / "remote").write_text("a file where the folder was")
    with pytest.raises(Unreachable):
        remote.subfolder("x").list_files()


def test_a_file_name_that_leads_outside_the_folder_is_refused(monkeypatch):
    remote = flaky_folder()
    outside = {f"{remote.root}/../x": {"type": "file", "size": 1}}
    monkeypatch.setattr(FlakyFileSystem, "find", lambda *args, **kwargs: outside)
    with pytest.raises(DataError, match=r"leads outside: '\.\./x'"):
        remote.list_files()


def test_an_unknown_protocol_and_a_missing_package_are_config_errors(monkeypatch):
    with pytest.raises(ConfigError, match="nosuch://x: ValueError: Protocol not known: nosuch"):
        open_folder("nosuch://x")

    def missing(protocol):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.get_filesystem_class", missing)
    needed = "s3://bucket/x: s3:// needs another package: pip install s3fs, on every node"
    with pytest.raises(ConfigError, match=needed):
        open_folder("s3://bucket/x")


def test_a_failed_access_check_shows_the_error_of_the_store():
    remote = flaky_folder()
    check_access(remote)
    assert remote.list_files() == {}, "the probe is gone"
    FlakyFileSystem.down = True
    with pytest.raises(ConfigError) as raised:
        check_access(remote)
    first, second = raised.value.problems
    assert first == f"--results {remote.url}: OSError: the network is down"
    assert second.startswith("It cannot be read: credentials")
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, 1
    with pytest.raises(ConfigError, match="It cannot be written"):
        check_access(remote)


def test_addresses_of_one_folder_have_one_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same = {open_folder(f"file://{p}").digest for p in (f"{tmp_path}/x", f"{tmp_path}/x/", "x")}
    assert len(same) == 1
    assert open_folder(f"file://{tmp_path}/y").digest not in same


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    for name in ("a/.pushed-1.part", ".pulled-1/0", "a/keep.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        assert is_partial(name) == ("keep" not in name)
    remove_partial_files(tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["keep.json"]
    assert os.listdir(tmp_path) == ["a"]
