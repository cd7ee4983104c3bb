"""Whole simulated studies: what the winners are worth, and that they are judged fairly."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.inference.whole_studies import simulate_whole
from analysis.inference.worlds import TAU22


@pytest.mark.slow
def test_winners_are_judged_by_what_they_are_worth():
    whole = simulate_whole(TAU22, 2.0, 30, np.random.default_rng(0))
    assert 1.2 < whole.truth.mean() < 2.0  # a random setting is worth about 0.5
    np.testing.assert_allclose(whole.truth + whole.lost, 2.0)
    error = (whole.average.estimate - whole.truth) / whole.average.standard_error()
    assert abs(error.mean()) < 3 / np.sqrt(30)  # no winner's curse


@pytest.mark.slow
def test_settings_that_are_all_alike_are_worth_nothing():
    whole = simulate_whole(replace(TAU22, seed_sd=2.0), 0.0, 20, np.random.default_rng(1))
    assert not whole.truth.any()
    assert abs(whole.average.estimate.mean()) < 0.6
