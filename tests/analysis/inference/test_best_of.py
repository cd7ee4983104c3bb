"""The expected best of n trials, against all subsets."""

from itertools import combinations

import numpy as np
import pytest

from analysis.inference.best_of import expected_best


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_the_mean_over_all_subsets(seed):
    rng = np.random.default_rng(seed)
    chosen, scored = rng.normal(size=(2, 7))
    for n, found in enumerate(expected_best(chosen, scored), start=1):
        best = [scored[max(own, key=lambda i: chosen[i])] for own in combinations(range(7), n)]
        assert found == pytest.approx(np.mean(best))


def test_luck_in_the_choice_does_not_count():
    """What is chosen by noise scores as one trial does, however many there are."""
    rng = np.random.default_rng(0)
    curves = [expected_best(*rng.normal(size=(2, 12))) for _ in range(4000)]
    np.testing.assert_allclose(np.mean(curves, axis=0), 0, atol=0.06)
