"""What is carried between a folder and an address, and what is left alone."""

import os

import pytest
from flaky_files import FlakyFileSystem, flaky_place

from study.errors import Unreachable
from study.remote.mirror import WorkingCopy
from study.remote.retry import Carrier, Persistence


@pytest.fixture
def place():
    return flaky_place()


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def copy(here, place):
    return WorkingCopy(here, place, lambda name: not name.endswith(".lock"))


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def listed(place):
    return {name: place.read(name).decode() for name in place.listing()}


def test_what_is_new_or_changed_goes_up_and_what_is_gone_goes(copy, here, place):
    put(here / "a", "1")
    put(here / "t/b", "2")
    put(here / "t/x.lock", "not carried")
    put(here / ".a.123.part", "half written")
    copy.push()
    assert listed(place) == {"a": "1", "t/b": "2"}
    FlakyFileSystem.names.clear()
    copy.push()
    assert FlakyFileSystem.names == [], "nothing has changed"
    put(here / "a", "one")
    (here / "t/b").unlink()
    copy.push()
    assert listed(place) == {"a": "one"}


def test_files_that_say_that_all_is_there_go_last(here, place):
    copy = WorkingCopy(here, place, lambda name: True, first=["z"], last=["result", "ended"])
    for name in ("ended", "result", "a", "t/y", "z"):
        put(here / name, "1")
    copy.push()
    assert [path.removeprefix("/studies/") for path in FlakyFileSystem.names] == [
        *("z", "a", "t/y", "result", "ended")
    ]


def test_an_upload_that_is_cut_off_leaves_the_last_files_out(here, place):
    copy = WorkingCopy(here, place, lambda name: True, last=["result"])
    for name in ("predictions", "result"):
        put(here / name, "1")
    FlakyFileSystem.fuse = 3
    with pytest.raises(Unreachable):
        copy.push()
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    assert "result" not in listed(place)
    copy.push()
    assert listed(place) == {"predictions": "1", "result": "1"}


def test_one_file_or_all_but_some(copy, here, place):
    for name in ("a", "b", "c"):
        put(here / name, "1")
    copy.push(only="b")
    assert listed(place) == {"b": "1"}
    copy.push(without=("c",))
    assert listed(place) == {"a": "1", "b": "1"}


def test_what_changed_there_comes_and_what_went_there_goes(copy, here, place):
    place.write("t/started.json", b"1")
    place.write("t/waiting.json", b"w")
    assert copy.pull() == {"t/started.json", "t/waiting.json"}
    assert copy.pull() == set()
    place.write("t/started.json", b"two")
    place.remove(["t/waiting.json"])
    place.write("other", b"o")
    assert copy.pull("t") == {"t/started.json", "t/waiting.json"}
    assert sorted(p.name for p in here.rglob("*") if p.is_file()) == ["started.json"]
    assert (here / "t/started.json").read_text() == "two"
    FlakyFileSystem.names.clear()
    copy.push()
    assert FlakyFileSystem.names == [], "what came is not sent back"


def test_what_was_changed_or_removed_here_is_not_undone_from_there(copy, here, place):
    for name in ("a", "b", "c"):
        place.write(name, b"old")
    copy.pull()
    put(here / "a", "new here")
    (here / "b").unlink()
    put(here / "d", "new here")
    place.write("a", b"new there")
    place.write("b", b"new there")
    place.remove(["c"])
    copy.pull()
    assert {p.name: p.read_text() for p in here.iterdir()} == {"a": "new here", "d": "new here"}
    copy.push()
    assert listed(place) == {"a": "new here", "d": "new here"}


def test_everything_takes_the_address_for_the_truth(copy, here, place):
    put(here / "only here", "x")
    put(here / "both", "here")
    put(here / "own.lock", "stays")
    place.write("both", b"there")
    copy.pull(everything=True, dropping=False)
    assert (here / "only here").exists()
    copy.pull(everything=True)
    assert {p.name: p.read_text() for p in here.iterdir()} == {"both": "there", "own.lock": "stays"}


def test_a_copy_from_an_earlier_process_is_not_fetched_again(copy, here, place):
    place.write("a", b"1")
    place.write("b", b"1")
    copy.pull(everything=True)
    place.write("b", b"2")
    os.utime(here / "b", (0, 0))
    again = WorkingCopy(here, place, lambda name: True)
    assert again.pull(everything=True) == {"b"}


def test_a_folder_that_is_suddenly_empty_is_not_believed(copy, here, place):
    place.write("t/trial.json", b"1")
    copy.pull()
    place.remove(["t/trial.json"])
    with pytest.raises(Unreachable, match="empty all of a sudden"):
        copy.pull("t")
    assert (here / "t/trial.json").exists()


def test_an_outage_is_told_once_and_so_is_its_end(copy, here, place):
    said, pauses = [], []

    def pause(seconds):
        pauses.append(seconds)
        FlakyFileSystem.down = len(pauses) < 4

    persistence = Persistence(said.append, pause)
    put(here / "a", "1")
    FlakyFileSystem.down = True
    assert not persistence.attempt(copy.push)
    persistence.insist(copy.push)
    assert listed(place) == {"a": "1"}
    assert pauses == [1, 2, 4, 8]
    lost, back = said
    assert lost.startswith(f"lost {place.url}: OSError: the network is down; it is tried again")
    assert back.startswith("the address answers again")


def test_patience_ends():
    pauses = []

    def never():
        raise Unreachable("x: nothing")

    with pytest.raises(Unreachable, match="x: nothing"):
        Persistence(print, pauses.append).insist(never, patience=100)
    assert pauses == [1, 2, 4, 8, 16, 32, 37]  # 100 in all


def test_a_carrier_carries_until_it_is_stopped_and_tells_what_ended_it():
    import threading

    called = threading.Event()
    carrier = Carrier(called.set, 60.0, Persistence(print))
    carrier.start()
    assert called.wait(5)
    called.clear()
    carrier.wake()
    assert called.wait(5), "sooner than after a minute"
    carrier.stop()

    def wrong():
        raise ValueError("no space left")

    carrier = Carrier(wrong, 0.01, Persistence(print))
    carrier.start()
    with pytest.raises(ValueError, match="no space left"):
        carrier.stop()
