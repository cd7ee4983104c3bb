"""What a transfer tells where there is no terminal: how much, how fast, how long."""

import pytest

from focusnet.download import display as transfer_display
from focusnet.download.display import Display


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(transfer_display.time, "monotonic", lambda: now[0])
    return now


def test_a_file_that_is_done_comes_with_rate_and_time_left(clock, capsys):
    with Display(1_000_000) as display, display.of_file("a", 600_000, 0) as advance:
        clock[0] += 10
        advance(250_000)
        display.done("a.zip", 1, 2)
    # 25 kB a second; the other 750 kB take 30 s.
    assert (
        "1 of 2 done: a.zip (25.0 kB/s, 750.0 kB left, about 0 minutes)" in capsys.readouterr().err
    )


def test_a_line_a_minute_says_how_far_it_is(clock, capsys):
    with Display(9_000_000) as display, display.of_file("a", 9_000_000, 0) as advance:
        for _ in range(9):
            clock[0] += 20
            advance(100_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "300.0 kB have come (5.0 kB/s, 8.7 MB left, about 29 minutes)"


def test_nothing_is_forecast_where_sizes_are_not_known_or_nothing_came(clock, capsys):
    with Display(None) as display, display.of_file("a", None, 0) as advance:
        advance(1000)
        display.done("a", 1, 1)
    with Display(1000) as display, display.busy("unpacking"):
        display.done("b", 1, 1)
    assert capsys.readouterr().err.splitlines() == ["1 of 1 done: a", "1 of 1 done: b"]
