"""Fetching from servers that cut lines, lie and corrupt."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer, faulty_server

from focusnet.download import transfer
from focusnet.download.transfer import Remote, Stopped, fetch
from focusnet.errors import DataError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "_LONGEST_WAIT", 0.0)
    with faulty_server({"file": CONTENT}) as served:
        yield served


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def get(server, tmp_path, told):
    """Fetches the file; gives back its path and the bytes that were reported."""

    def fetch_it(size: int | None = len(CONTENT), checksum: str | None = MD5) -> tuple[Path, int]:
        counts: list[int] = []
        path = fetch(
            Remote("file", f"{server.url}/file", checksum, size),
            tmp_path / "file",
            advance=counts.append,
            say=told.append,
        )
        return path, sum(counts)

    return fetch_it


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize(
    "faults",
    [
        [],
        ["cut 300000"],
        ["cut 1", "cut 1", "cut 500000", "cut 0", "cut 10"],
        ["cut 400000", "whole"],
        ["chunked"],
        ["cut 300000", "chunked"],
        ["long"],
        ["cut 400000", "long"],
        ["status 503", "status 429 after 0", "cut 9"],
        ["cut 300000", "status 500", "cut 300000", "status 502"],
    ],
)
def test_a_file_arrives_whole_whatever_cuts_the_line(get, server, faults, size, told):
    server.faults = list(faults)
    path, counted = get(size)
    assert path.read_bytes() == CONTENT
    assert counted == len(CONTENT)
    assert left(path.parent) == ["file"]
    assert not told
    assert not server.faults


def test_no_byte_is_asked_for_twice(get, server):
    server.faults = ["cut 300000", "cut 200000"]
    get()
    assert server.ranges() == [None, "bytes=300000-", "bytes=500000-"]


def test_a_transfer_goes_on_from_what_a_killed_process_left(get, server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:600_000])
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == 400_000
    assert server.ranges() == ["bytes=600000-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_complete_needs_no_more_than_a_look(get, server, tmp_path, size):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(size)[0].read_bytes() == CONTENT
    assert len(server.requests) == (1 if size is None else 0)


def test_what_is_there_is_not_fetched_again(get, server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    get()
    assert not server.requests


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (["flip"], "wrong checksum: md5 must be"),
        (["cut 400000", "flip"], "wrong checksum: md5 must be"),
        (["extra"], "more than the file's 1,000,000 bytes"),
        (["cut 400000", "elsewhere"], "another part than asked for"),
    ],
)
def test_wrong_bytes_are_deleted_said_and_fetched_anew(get, server, faults, reason, told):
    server.faults = list(faults)
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == len(CONTENT)
    assert len(told) == 1
    assert reason in told[0]
    assert "deleted, fetching it again" in told[0]


def test_a_length_that_is_announced_too_short_is_found_out(get, server):
    server.faults = ["short", "short"]
    assert get()[0].read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=500000-", "bytes=750000-"]


def test_a_wrong_part_from_before_is_replaced(get, tmp_path, told):
    (tmp_path / "file.part").write_bytes(b"x" * 500_000)
    assert get()[0].read_bytes() == CONTENT
    assert "wrong checksum" in told[0]


def test_a_file_that_is_there_and_wrong_is_deleted_said_and_fetched(get, tmp_path, told):
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"!")
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == 0  # as many bytes came as were taken away
    assert told[0].startswith(f"{tmp_path / 'file'}: wrong checksum")


@pytest.mark.parametrize("fault", ["flip", "extra"])
def test_twice_the_wrong_bytes_end_it_and_nothing_is_kept(get, server, tmp_path, fault):
    server.faults = [fault, fault]
    with pytest.raises(DataError, match=r"twice; deleted"):
        get()
    assert left(tmp_path) == []


def test_a_line_without_a_length_that_is_cut_is_caught_by_the_checksum(get, server, told):
    server.faults = ["untold 1234"]
    assert get(size=None)[0].read_bytes() == CONTENT
    assert "wrong checksum" in told[0]


def test_a_refusal_is_final_and_named(get, server):
    server.faults = ["status 403"]
    with pytest.raises(DataError, match=r"/file: the server says 403 Forbidden"):
        get()
    assert len(server.requests) == 1


def test_a_server_that_brings_nothing_any_more_is_given_up_and_the_part_kept(get, server, tmp_path):
    server.faults = ["cut 300000", *["status 503"] * 5]
    with pytest.raises(DataError, match=r"503 .*5 attempts brought nothing.*is kept in"):
        get()
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:300_000]
    assert get()[0].read_bytes() == CONTENT


def test_a_server_that_starts_over_each_time_and_cuts_is_given_up(get, server):
    server.faults = ["cut 300000", *["whole-cut 300000"] * 5]
    with pytest.raises(DataError, match=r"5 attempts brought nothing"):
        get()


def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_LONGEST_WAIT", 0.0)
    with faulty_server({}) as closed:
        url = closed.url
    with pytest.raises(DataError, match=r"/file: Failed to .*refused \(5 attempts.*nothing\)"):
        fetch(Remote("file", f"{url}/file", MD5), tmp_path / "file")


def test_a_pause_that_the_server_asks_for_is_kept(get, server, monkeypatch):
    waited: list[float] = []
    wait = threading.Event.wait
    monkeypatch.setattr(
        threading.Event, "wait", lambda self, t=None: (waited.append(t), wait(self, 0))[1]
    )
    monkeypatch.setattr(transfer, "_LONGEST_REQUESTED_WAIT", 120.0)
    server.faults = ["status 429 after 7", "status 429 after 999"]
    get()
    assert [seconds for seconds in waited if seconds in (7.0, 120.0)] == [7.0, 120.0]


def test_a_stop_keeps_what_has_arrived(server, tmp_path):
    stop = threading.Event()
    remote = Remote("file", f"{server.url}/file", MD5, len(CONTENT))
    with pytest.raises(Stopped):
        fetch(remote, tmp_path / "file", advance=lambda count: stop.set(), stop=stop)
    kept = (tmp_path / "file.part").read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    # A proxy is asked for the whole address, and here it is the server itself.
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    remote = Remote("file", "http://nowhere.invalid/file", MD5)
    server.files["http://nowhere.invalid/file"] = CONTENT
    assert fetch(remote, tmp_path / "file").read_bytes() == CONTENT


def test_the_server_of_these_tests_serves_ranges(server: FaultyServer):
    import requests

    answer = requests.get(f"{server.url}/file", headers={"Range": "bytes=999990-"}, timeout=10)
    assert answer.status_code == 206
    assert answer.content == CONTENT[-10:]
