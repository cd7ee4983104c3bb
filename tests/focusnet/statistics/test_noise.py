"""Noise components: by hand, and in worlds whose noise is known."""

import numpy as np
import pytest

from focusnet.statistics.noise import noise_components
from focusnet.statistics.pooled import pooled_effect


def world(rng, studies, seeds, *, training=1.0, location=3.0, cell=5.0, locations=7):
    """One array a stratum: trainings, persistent locations that strata share, and cells."""
    scene = np.tile(np.repeat(np.arange(10), locations), 2)
    half = np.repeat([0, 1], 10 * locations)
    persistent = location * rng.standard_normal((studies, 1, len(scene)))
    arm = [
        persistent
        + training * rng.standard_normal((studies, r, 1))
        + cell * rng.standard_normal((studies, r, len(scene)))
        for r in seeds
    ]
    return arm, [0 * one for one in arm], scene, half, np.full(len(scene), 20)


def test_components_are_those_of_the_world():
    studies = world(np.random.default_rng(0), 300, (8, 6))
    noise = noise_components(*studies)
    assert noise.location_sd == pytest.approx(3.0, rel=0.05)
    assert noise.cell_sd == pytest.approx(5.0, rel=0.02)
    # As observed: the noise of 70 cells comes on top of that of the training.
    observed = np.sqrt(1 + 25 / 70)
    assert noise.difference_sd == pytest.approx((observed, observed), rel=0.05)
    assert noise.pooled_difference_sd == pytest.approx(observed, rel=0.03)
    # The other arm has no noise: the mean of both variances.
    assert noise.pooled_training_sd == pytest.approx(observed / np.sqrt(2), rel=0.03)
    assert noise.seeds == (8, 6)


def test_the_planned_noise_is_that_of_the_estimates():
    studies = world(np.random.default_rng(1), 2000, (8, 6))
    average, _ = pooled_effect(*studies)
    planned = noise_components(*studies).effect_sd([(4, 4), (3, 3)])
    assert planned == pytest.approx(average.estimate.std(), rel=0.05)
    more = noise_components(*studies).effect_sd([(400, 400), (300, 300)])
    assert more == pytest.approx(3.0 / np.sqrt(140), rel=0.06)  # locations set the floor


def test_a_study_of_one_half_by_hand():
    # One scene with two locations, three seeds that are judged on half 0: macro 1, 3, 5.
    x = np.array([[0.0, 2, np.nan], [2, 4, np.nan], [4, 6, np.nan]])[None]
    scene, half, clips = np.zeros(3, int), np.array([0, 0, 1]), np.full(3, 10)
    noise = noise_components([x], [0 * x], scene, half, clips, [np.zeros(3, int)])
    assert noise.difference_sd == (2.0,)
    assert noise.training_sd[0] == pytest.approx(np.sqrt(2))
    assert noise.cell_sd == 0
    # Deviations -1 and 1, weight 1/2 each, divided by sqrt(1 - 1/2): 1/2 + 1/2.
    assert noise.location_variance == pytest.approx(1.0)
    assert noise.location_sd == pytest.approx(np.sqrt(2))  # the sd of -1 and 1
    assert noise.effect_sd([(3,)]) == pytest.approx(np.sqrt(4 / 3 + 1))
