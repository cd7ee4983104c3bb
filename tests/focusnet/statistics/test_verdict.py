"""Verdicts from effects whose interval is known, and Holm's correction by hand."""

import numpy as np
import pytest

from focusnet.statistics.pooled import Effect
from focusnet.statistics.verdict import holm, study_verdicts, verdicts


def effect(estimate, standard_error):
    """An effect whose noise is that of seeds alone, with many of them."""
    estimate = np.atleast_1d(np.asarray(estimate, float))
    variance = np.broadcast_to(np.asarray(standard_error, float) ** 2, estimate.shape)
    many = np.full_like(estimate, 1e6)
    return Effect(estimate, variance, many, np.zeros_like(estimate), many)


@pytest.mark.parametrize(
    ("estimate", "standard_error", "expected"),
    [
        (2.0, 0.5, "gain"),
        (-2.0, 0.5, "loss"),
        (0.1, 0.3, "small"),  # 90 %: -0.39 to 0.59
        (-1.2, 0.8, "no gain"),  # 90 %: -2.5 to 0.1, no claim
        (0.8, 0.6, "undecided"),  # 90 %: -0.2 to 1.8
        (0.5, 0.1, "gain"),  # claimed, though it is smaller than the margin
    ],
)
def test_the_verdict_follows_from_p_value_interval_and_margin(estimate, standard_error, expected):
    one = effect(estimate, standard_error)
    assert verdicts(one, one.p_value(), 0.05)[0] == expected


def test_a_wider_margin_makes_more_effects_small():
    one = effect(0.8, 0.6)
    assert verdicts(one, one.p_value(), 0.05, margin=2.0)[0] == "small"


def test_strata_are_tested_strictly_where_the_average_claims_nothing():
    # Opposite effects: nothing on average, p = 0.004 and 0.004 in the strata (Holm 0.008).
    strata = [effect(2.88, 1.0), effect(-2.88, 1.0)]
    average = effect(0.0, 0.7)
    on_average, own = study_verdicts(average, strata)
    assert on_average[0] == "undecided"
    assert [one[0] for one in own] == ["gain", "loss"]
    # p = 0.02 each: enough only where the average claims.
    strata = [effect(2.33, 1.0), effect(2.33, 1.0)]
    assert [one[0] for one in study_verdicts(effect(0.0, 0.7), strata)[1]] == ["undecided"] * 2
    assert [one[0] for one in study_verdicts(effect(2.33, 0.7), strata)[1]] == ["gain"] * 2


def test_holm_by_hand():
    assert list(holm(np.array([0.01, 0.04, 0.03]))) == pytest.approx([0.03, 0.06, 0.06])
    assert list(holm(np.array([0.02, np.nan]))) == pytest.approx([0.02, np.nan], nan_ok=True)
