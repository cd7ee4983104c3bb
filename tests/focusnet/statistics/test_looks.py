"""Levels of planned looks: together they spend five percent of false claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from focusnet.statistics.looks import FLOOR, look_levels, spent


def test_one_look_has_all_of_it():
    assert look_levels((1.0,)) == (pytest.approx(0.05),)


def test_two_equal_looks_are_those_of_the_spending_function():
    first, second = look_levels((0.5, 1.0))
    assert first == pytest.approx(2 * stats.norm.sf(stats.norm.isf(0.025) / np.sqrt(0.5)))
    limits = stats.norm.isf(np.array([first, second]) / 2)
    statistics = stats.multivariate_normal(cov=[[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
    assert statistics.cdf(limits, lower_limit=-limits) == pytest.approx(0.95, abs=1e-5)


def test_looks_together_claim_in_five_percent_of_studies_without_effect():
    information = (0.25, 0.5, 0.75, 1.0)
    levels = look_levels(information)
    rng = np.random.default_rng(0)
    walk = np.cumsum(0.5 * rng.standard_normal((400_000, 4)), axis=1) / np.sqrt(information)
    claimed = (2 * stats.norm.sf(np.abs(walk)) < levels).any(axis=1).mean()
    assert claimed == pytest.approx(0.05, abs=0.0012)


@given(st.lists(st.floats(0.05, 0.95), min_size=1, max_size=4, unique=True))
def test_levels_stay_between_the_floor_and_five_percent(shares):
    information = (*sorted(shares), 1.0)
    if min(np.diff((0, *information))) < 0.02:
        return
    levels = look_levels(information)
    assert all(FLOOR <= level <= 0.05 + 1e-9 for level in levels)


@pytest.mark.parametrize("wrong", [(), (0.5,), (0.5, 0.5, 1.0), (0.0, 1.0), (1.0, 0.5)])
def test_shares_that_do_not_increase_to_one_are_refused(wrong):
    with pytest.raises(ValueError, match="must increase"):
        look_levels(wrong)


def test_looks_that_have_been_taken_leave_what_they_have_not_spent():
    assert spent((), ()) == 0.0
    assert spent((0.3,), (0.02,)) == pytest.approx(0.02)
    information = (0.25, 0.5, 0.75, 1.0)
    assert spent(information, look_levels(information)) == pytest.approx(0.05, abs=1e-5)
    # The plan was another one: the looks that are left spend the rest.
    levels = look_levels((0.2, 0.6, 1.0), 0.05, taken=(0.01,))
    assert levels[0] == 0.01
    assert spent((0.2, 0.6, 1.0), levels) == pytest.approx(0.05, abs=1e-5)
    assert levels[-1] < look_levels((0.2, 0.6, 1.0))[-1]
    assert look_levels((0.5, 1.0), 0.04, taken=(0.04,)) == (0.04, 0.0), "nothing is left"
    assert spent((0.5, 1.0), (0.04, 0.0)) == pytest.approx(0.04, abs=1e-6)
