"""Two sides in processes of their own: what is measured, and what a fault of one looks like."""

import pytest

from benchmarks.measure import Spread, compare, number


def counting(step):
    """One side of a comparison: it says how far it has counted."""
    counted = [0.0]

    def work():
        sum(i * i for i in range(20_000))  # for a CPU time above 0
        counted[0] += step
        return counted[0]

    return work


def failing():
    raise ValueError("no such data")


def test_sides_take_turns_after_one_unmeasured_turn():
    one, other, ratio = compare(counting, counting, {"step": 2}, rounds=3, clock="wall")
    assert one.low > 0
    assert other.low <= other.median <= other.high
    assert ratio.low <= ratio.median <= ratio.high


def test_a_side_that_fails_is_named_with_its_error():
    with pytest.raises(RuntimeError, match="no such data"):
        compare(failing, failing, {}, rounds=1)


def test_figures_keep_three_digits_and_show_their_range():
    assert [number(v) for v in (12345, 123.4, 99.96, 1.234, 0.01234)] == [
        "12,300",
        "123",
        "100",
        "1.23",
        "0.0123",
    ]
    assert str(Spread.of([3, 1, 2])) == "2 (1 to 3)"
    assert str(Spread.of([2])) == "2"
