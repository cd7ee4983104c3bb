"""The learning rate schedule, compared with hand-worked values and the recipe's formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusnet.schedule import warmup_cosine, warmup_linear_down


def test_the_schedule_of_the_recipe_has_hand_worked_factors():
    factor = warmup_linear_down(3, 3, 10, 0.01)
    assert factor(0) == pytest.approx(math.exp(-5 * (1 - 0.5 / 3) ** 2))
    assert factor(1) == pytest.approx(math.exp(-5 * (2 / 3) ** 2))
    assert factor(2) == pytest.approx(math.exp(-5 / 9))
    assert factor(3) == 1.0
    assert factor(8) == pytest.approx(0.01 + 0.99 * 0.5)
    assert factor(12) == pytest.approx(0.01 + 0.99 * 0.1)
    assert [factor(13), factor(24)] == [0.01, 0.01]


def cp_jku(epoch, warmup, start, length, last):
    """The formula of the published code, in NumPy."""
    up = 1.0
    if epoch < warmup:
        phase = 1.0 - np.clip(epoch, 0.5, warmup) / warmup
        up = float(np.exp(-5.0 * phase * phase))
    if epoch <= start:
        down = 1.0
    elif epoch - start < length:
        down = last + (1.0 - last) * (length - epoch + start) / length
    else:
        down = last
    return up * down


@given(
    st.integers(0, 60), st.integers(0, 20), st.integers(0, 20), st.integers(1, 40), st.floats(0, 1)
)
def test_every_schedule_equals_the_published_formula_exactly(epoch, warmup, start, length, last):
    ours = warmup_linear_down(warmup, start, length, last)(epoch)
    assert ours == cp_jku(epoch, warmup, start, length, last)


def test_without_warm_up_training_starts_at_the_full_rate():
    assert warmup_linear_down(0, 3, 10, 0.01)(0) == 1.0


def test_warmup_and_cosine_have_hand_worked_factors():
    factor = warmup_cosine(4, 12)
    assert [factor(step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert factor(6) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert factor(8) == pytest.approx(0.5)
    assert factor(11) == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert [factor(12), factor(100)] == [0.0, 0.0]


@given(st.integers(0, 50), st.integers(1, 200))
def test_the_cosine_rises_to_1_and_falls_after_it(warmup, after):
    factor = warmup_cosine(warmup, warmup + after)
    values = [factor(step) for step in range(warmup + after + 1)]
    assert values[warmup] == 1.0
    assert values[: warmup + 1] == sorted(values[: warmup + 1])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
    assert values[-1] == 0.0
