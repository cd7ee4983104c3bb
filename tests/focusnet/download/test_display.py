"""The lines that a download prints where there is no terminal: bytes, rate and time left."""

import logging

import pytest

from focusnet.download import display as download_display
from focusnet.download.display import DownloadDisplay


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(download_display.time, "monotonic", lambda: now[0])
    return now


def test_a_finished_file_is_printed_with_rate_and_time_left(clock, capsys):
    with DownloadDisplay(1_000_000) as display, display.file_bar("a", 600_000, 0) as advance:
        clock[0] += 10
        advance(250_000)
        display.done("a.zip", 1, 2)
    # 25 kB a second; the other 750 kB take 30 s.
    assert (
        "1 of 2 done: a.zip (25.0 kB/s, 750.0 kB left, about 0 minutes)" in capsys.readouterr().err
    )


def test_a_line_each_minute_says_how_much_has_arrived(clock, capsys):
    with DownloadDisplay(9_000_000) as display, display.file_bar("a", 9_000_000, 0) as advance:
        for _ in range(9):
            clock[0] += 20
            advance(100_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "300.0 kB received (5.0 kB/s, 8.7 MB left, about 29 minutes)"


def test_there_is_no_forecast_without_sizes_or_before_the_first_byte(clock, capsys):
    with DownloadDisplay(None) as display, display.file_bar("a", None, 0) as advance:
        advance(1000)
        display.done("a", 1, 1)
    with DownloadDisplay(1000) as display, display.busy_bar("unpacking"):
        display.done("b", 1, 1)
    assert capsys.readouterr().err.splitlines() == ["1 of 1 done: a", "1 of 1 done: b"]


def test_log_messages_are_printed_while_the_display_is_active(capsys):
    logger = logging.getLogger("focusnet.system.transfer")
    with DownloadDisplay(None):
        logger.warning("[file] %s", "x" * 200)
    assert capsys.readouterr().err == f"[file] {'x' * 200}\n"
    assert not logging.getLogger("focusnet").handlers
