"""Downloads from servers that close connections, announce wrong lengths and corrupt bytes."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
import requests
from faulty_server import FaultyServer, faulty_server

from focusnet.errors import DataError
from focusnet.system import transfer
from focusnet.system.transfer import RemoteFile, Stopped, download_file

CONTENT = np.random.default_rng(0).bytes(1_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "_LONGEST_WAIT", 0.0)
    with faulty_server({"file": CONTENT}) as served:
        yield served


@pytest.fixture
def get(server, tmp_path):
    """Downloads the file; returns its path and the number of bytes reported to ``advance``."""

    def download(size: int | None = len(CONTENT), checksum: str | None = MD5) -> tuple[Path, int]:
        counts: list[int] = []
        remote = RemoteFile("file", f"{server.url}/file", checksum, size)
        path = download_file(remote, tmp_path / "file", advance=counts.append)
        return path, sum(counts)

    return download


def names_in(folder: Path) -> list[str]:
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
def test_a_broken_connection_is_resumed_until_the_file_is_complete(
    get, server, faults, size, caplog
):
    server.faults = list(faults)
    path, counted = get(size)
    assert path.read_bytes() == CONTENT
    assert counted == len(CONTENT)
    assert names_in(path.parent) == ["file"]
    assert not caplog.messages
    assert not server.faults


def test_no_byte_is_requested_twice(get, server):
    server.faults = ["cut 300000", "cut 200000"]
    get()
    assert server.ranges() == [None, "bytes=300000-", "bytes=500000-"]


def test_the_partial_file_of_a_killed_process_is_resumed(get, server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:600_000])
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == 400_000
    assert server.ranges() == ["bytes=600000-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_complete_partial_file_is_not_downloaded_again(get, server, tmp_path, size):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(size)[0].read_bytes() == CONTENT
    assert len(server.requests) == (1 if size is None else 0)


def test_an_existing_file_is_not_downloaded_again(get, server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    get()
    assert not server.requests


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (["flip"], "wrong checksum: md5 must be"),
        (["cut 400000", "flip"], "wrong checksum: md5 must be"),
        (["extra"], "more than the file's 1,000,000 bytes"),
        (["cut 400000", "elsewhere"], "another part than requested"),
    ],
)
def test_wrong_content_is_logged_deleted_and_downloaded_again(get, server, faults, reason, caplog):
    server.faults = list(faults)
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == len(CONTENT)
    [message] = caplog.messages
    assert reason in message
    assert "deleted, fetching it again" in message


def test_an_announced_length_that_is_too_short_is_noticed(get, server):
    server.faults = ["short", "short"]
    assert get()[0].read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=500000-", "bytes=750000-"]


def test_a_wrong_partial_file_is_replaced(get, tmp_path, caplog):
    (tmp_path / "file.part").write_bytes(b"x" * 500_000)
    assert get()[0].read_bytes() == CONTENT
    assert "wrong checksum" in caplog.messages[0]


def test_an_existing_wrong_file_is_deleted_and_downloaded_again(get, tmp_path, caplog):
    (tmp_path / "file").write_bytes(CONTENT[:-1] + b"!")
    path, counted = get()
    assert path.read_bytes() == CONTENT
    assert counted == 0  # as many bytes received as discarded
    assert caplog.messages[0].startswith(f"{tmp_path / 'file'}: wrong checksum")


@pytest.mark.parametrize("fault", ["flip", "extra"])
def test_wrong_content_twice_is_an_error_and_nothing_is_kept(get, server, tmp_path, fault):
    server.faults = [fault, fault]
    with pytest.raises(DataError, match="deleted after the second attempt"):
        get()
    assert names_in(tmp_path) == []


def test_a_cut_response_without_a_length_is_noticed_by_the_checksum(get, server, caplog):
    server.faults = ["no-length 1234"]
    assert get(size=None)[0].read_bytes() == CONTENT
    assert "wrong checksum" in caplog.messages[0]


def test_a_permanent_refusal_is_not_retried(get, server):
    server.faults = ["status 403"]
    with pytest.raises(DataError, match=r"/file: the server says 403 Forbidden"):
        get()
    assert len(server.requests) == 1


def test_retries_end_after_five_attempts_without_a_byte_and_keep_the_part(get, server, tmp_path):
    server.faults = ["cut 300000", *["status 503"] * 5]
    with pytest.raises(DataError, match=r"503 .*5 attempts brought nothing.*is kept in"):
        get()
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:300_000]
    assert get()[0].read_bytes() == CONTENT


def test_retries_end_where_each_attempt_starts_over_and_brings_no_more(get, server):
    server.faults = ["cut 300000", *["whole-cut 300000"] * 5]
    with pytest.raises(DataError, match=r"5 attempts brought nothing"):
        get()


def test_an_unreachable_server_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_LONGEST_WAIT", 0.0)
    with faulty_server({}) as closed:
        url = closed.url
    with pytest.raises(DataError, match=r"/file: Failed to .*refused \(5 attempts.*nothing\)"):
        download_file(RemoteFile("file", f"{url}/file", MD5), tmp_path / "file")


def test_a_wait_that_the_server_requests_is_kept(get, server, monkeypatch):
    waited: list[float] = []
    wait = threading.Event.wait
    monkeypatch.setattr(
        threading.Event, "wait", lambda self, t=None: (waited.append(t), wait(self, 0))[1]
    )
    monkeypatch.setattr(transfer, "_LONGEST_REQUESTED_WAIT", 120.0)
    server.faults = ["status 429 after 7", "status 429 after 999"]
    get()
    assert [seconds for seconds in waited if seconds in (7.0, 120.0)] == [7.0, 120.0]


def test_stopping_keeps_the_received_bytes(server, tmp_path):
    stop = threading.Event()
    remote = RemoteFile("file", f"{server.url}/file", MD5, len(CONTENT))
    with pytest.raises(Stopped):
        download_file(remote, tmp_path / "file", advance=lambda count: stop.set(), stop=stop)
    kept = (tmp_path / "file.part").read_bytes()
    assert 0 < len(kept) < len(CONTENT)
    assert CONTENT.startswith(kept)


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    # A proxy receives requests with the whole address; here the server acts as one.
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    remote = RemoteFile("file", "http://nowhere.invalid/file", MD5)
    server.files["http://nowhere.invalid/file"] = CONTENT
    assert download_file(remote, tmp_path / "file").read_bytes() == CONTENT


def test_the_test_server_serves_ranges(server: FaultyServer):
    answer = requests.get(f"{server.url}/file", headers={"Range": "bytes=999990-"}, timeout=10)
    assert answer.status_code == 206
    assert answer.content == CONTENT[-10:]
