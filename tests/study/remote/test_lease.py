"""One driver at a time, where no kernel keeps a lock."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from flaky_files import FlakyFileSystem, flaky_place

from focusnet.errors import ConfigError
from study.remote.lease import FILE, Lease, lives
from study.remote.retry import Persistence


@pytest.fixture
def place():
    return flaky_place("studies/small")


def make(place, folder, said=None, on_loss=None, **times):
    folder.mkdir(exist_ok=True)
    said = [] if said is None else said
    times = {"beat": 0.02, "watch": 0.5, "look": 0.02} | times
    persistence = Persistence(said.append, lambda seconds: None)
    return Lease(folder, place, persistence, said.append, on_loss or (lambda: None), **times)


def test_a_second_driver_is_refused_while_the_first_shows_life(place, tmp_path):
    said = []
    with make(place, tmp_path / "one").held():
        refused = pytest.raises(ConfigError, match=r"studies/small: process \d+ on .* is running")
        with refused, make(place, tmp_path / "two", said).held():
            raise AssertionError("held twice")
    assert len(said) == 1
    assert said[0].endswith(f"Known to be dead? Remove {place.url}/{FILE}")
    assert place.read(FILE) is None
    with make(place, tmp_path / "two", said).held():
        pass
    assert len(said) == 1, "the first has said that it ended"


def test_a_dead_driver_holds_nobody_up_for_longer_than_the_watch(place, tmp_path):
    place.write(FILE, json.dumps({"token": "x", "process": 7, "host": "gone"}).encode())
    said = []
    with make(place, tmp_path / "two", said).held():
        assert json.loads(place.read(FILE))["process"] != 7
    assert said[0].startswith("process 7 on gone ran this study and has not said that it ended")


def test_a_record_that_is_removed_by_hand_ends_the_watch(place, tmp_path):
    place.write(FILE, b'{"token": "x"}')
    timer = threading.Timer(0.2, place.remove, [[FILE]])
    timer.start()
    with make(place, tmp_path / "two", watch=60.0).held():
        pass
    timer.join()


def test_who_has_the_lock_of_a_dead_driver_need_not_watch(place, tmp_path):
    lease = make(place, tmp_path / "one", watch=60.0)
    with lease.held():
        record = place.read(FILE)
    place.write(FILE, record)  # as a kill would have left both
    (tmp_path / "one" / FILE).write_text(json.loads(record)["token"])
    said = []
    with make(place, tmp_path / "one", said, watch=60.0).held():
        pass
    assert said == []


def test_a_driver_whose_study_was_taken_ends_and_leaves_the_record_alone(place, tmp_path):
    said, lost = [], threading.Event()
    lease = make(place, tmp_path / "one", said, lost.set, beat=0.3)
    with lease.held():
        while not lost.wait(0.1):  # the first beat may come between
            place.write(FILE, b'{"token": "other", "process": 7, "host": "there"}')
        assert lease.lost
    assert said == ["process 7 on there has taken this study: this process ends"]
    assert json.loads(place.read(FILE))["token"] == "other"


def test_an_outage_costs_no_lease(place, tmp_path):
    said = []
    back = threading.Event()
    lease = make(place, tmp_path / "one", said, lambda: pytest.fail("lost"))
    lease._persistence._say = lambda text: (said.append(text), back.set() if said[1:] else None)
    with lease.held():
        FlakyFileSystem.down = True
        while not said:
            pass
        FlakyFileSystem.down = False
        assert back.wait(10)
    assert not lease.lost
    assert place.read(FILE) is None


def test_life_is_a_recent_beat():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def record(age):
        return json.dumps({"beat": (now - timedelta(seconds=age)).isoformat()}).encode()

    assert lives(record(20), now)
    assert not lives(record(61), now)
    assert not lives(None, now)
    assert not lives(b"{", now)
