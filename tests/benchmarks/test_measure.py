"""Measuring two alternatives in separate processes."""

import pytest

from benchmarks.measure import Spread, compare, number


def counting(step):
    """An alternative whose amount grows by ``step`` with each measurement."""
    counted = [0.0]

    def work():
        sum(i * i for i in range(20_000))  # so that CPU time is above 0
        counted[0] += step
        return counted[0]

    return work


def failing():
    raise ValueError("no such data")


def test_rates_and_ratios_are_positive_and_ordered():
    one, other, ratio = compare(counting, counting, {"step": 2}, rounds=3, clock="wall")
    assert one.low > 0
    assert other.low <= other.median <= other.high
    assert ratio.low <= ratio.median <= ratio.high


def test_the_error_of_a_failed_process_is_reported():
    with pytest.raises(RuntimeError, match="no such data"):
        compare(failing, failing, {}, rounds=1)


def test_figures_have_three_digits_and_a_range():
    assert [number(v) for v in (12345, 123.4, 99.96, 1.234, 0.01234)] == [
        "12,300",
        "123",
        "100",
        "1.23",
        "0.0123",
    ]
    assert str(Spread.of([3, 1, 2])) == "2 (1 to 3)"
    assert str(Spread.of([2])) == "2"
