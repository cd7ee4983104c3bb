"""One driver at a time runs a remote study."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from flaky_files import FlakyFileSystem, flaky_folder

from focusnet.errors import ConfigError
from study.remote.lease import FILE, Lease, is_alive
from study.remote.retry import Retrier


@pytest.fixture
def remote():
    return flaky_folder("studies/small")


def make(remote, folder, on_loss=lambda: None, **times):
    folder.mkdir(exist_ok=True)
    times = {"heartbeat": 0.02, "watch": 0.5, "poll": 0.02} | times
    return Lease(folder, remote, Retrier(lambda seconds: None), on_loss, **times)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_driver_is_refused_while_the_first_is_alive(remote, tmp_path, caplog):
    with make(remote, tmp_path / "one").held():
        refused = pytest.raises(ConfigError, match=r"studies/small: process \d+ on .* is running")
        with refused, make(remote, tmp_path / "two").held():
            raise AssertionError("held twice")
    (message,) = caplog.messages
    assert message.endswith(f"If you know that it is dead, remove {remote.url}/{FILE}")
    assert remote.read(FILE) is None
    with make(remote, tmp_path / "two").held():
        pass
    assert len(caplog.messages) == 1, "the first has released the lease"


def test_a_dead_driver_blocks_the_study_no_longer_than_the_watch(remote, tmp_path, caplog):
    remote.write(FILE, json.dumps({"token": "x", "process": 7, "host": "gone"}).encode())
    with make(remote, tmp_path / "two").held():
        assert json.loads(remote.read(FILE))["process"] != 7
    assert caplog.messages[0].startswith("process 7 on gone ran this study and did not report")


def test_a_record_that_is_removed_by_hand_ends_the_watch(remote, tmp_path):
    remote.write(FILE, b'{"token": "x"}')
    timer = threading.Timer(0.2, remote.remove, [[FILE]])
    timer.start()
    with make(remote, tmp_path / "two", watch=60.0).held():
        pass
    timer.join()


def test_no_watch_is_needed_where_the_file_lock_proves_that_the_driver_is_dead(
    remote, tmp_path, caplog
):
    lease = make(remote, tmp_path / "one", watch=60.0)
    with lease.held():
        record = remote.read(FILE)
    remote.write(FILE, record)  # as if the driver had been killed
    (tmp_path / "one" / FILE).write_text(json.loads(record)["token"])
    with make(remote, tmp_path / "one", watch=60.0).held():
        pass
    assert caplog.messages == []


def test_a_driver_that_lost_its_lease_ends_and_keeps_the_new_record(remote, tmp_path, caplog):
    lost = threading.Event()
    lease = make(remote, tmp_path / "one", lost.set, heartbeat=0.3)
    with lease.held():
        while not lost.wait(0.1):  # a heartbeat may overwrite it
            remote.write(FILE, b'{"token": "other", "process": 7, "host": "there"}')
        assert lease.lost
    assert caplog.messages == ["process 7 on there has taken over this study: this process ends"]
    assert json.loads(remote.read(FILE))["token"] == "other"


def test_an_outage_does_not_lose_the_lease(remote, tmp_path, caplog):
    lease = make(remote, tmp_path / "one", lambda: pytest.fail("lost"))
    with lease.held():
        FlakyFileSystem.down = True
        wait_for(lambda: len(caplog.messages) == 1)
        FlakyFileSystem.down = False
        wait_for(lambda: len(caplog.messages) == 2)
    assert not lease.lost
    assert remote.read(FILE) is None


def test_a_driver_with_a_recent_heartbeat_is_alive():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def record(age):
        return json.dumps({"beat": (now - timedelta(seconds=age)).isoformat()}).encode()

    assert is_alive(record(20), now)
    assert not is_alive(record(61), now)
    assert not is_alive(None, now)
    assert not is_alive(b"{", now)
