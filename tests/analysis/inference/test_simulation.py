"""Simulated studies have the requested effect and noise."""

from dataclasses import replace

import numpy as np
import pytest
from analysis.inference.several_seeds import variance_components

from analysis.inference.simulation import Plan, simulate_differences

PLAN = Plan("small", accuracies=(0.4, 0.6), seed_sd=0.02, locations=5, clips=20, seeds=4)


@pytest.mark.parametrize("effect", [0.0, 0.03, -0.08])
def test_the_mean_effect_is_the_true_one_in_every_stratum(effect):
    differences = simulate_differences(PLAN, effect, 1500, np.random.default_rng(0))
    assert differences.shape == (1500, 2, 4, 50)
    found = variance_components(differences, PLAN.design()).effect
    error = found.std(axis=0) / 1500**0.5
    assert (np.abs(found.mean(axis=0) - effect) < 4 * error).all()
    assert error.max() < 0.001


def test_the_noise_of_seeds_does_not_reduce_the_effect():
    """Phi is not linear: without the correction 0.2 would be simulated as 0.19."""
    noisy = replace(PLAN, accuracies=(0.5,), seed_sd=0.12, undisputed=0.2)
    found = variance_components(
        simulate_differences(noisy, 0.2, 4000, np.random.default_rng(4)), noisy.design()
    ).effect
    assert found.mean() == pytest.approx(0.2, abs=4 * found.std() / 4000**0.5)


def test_seeds_vary_as_requested():
    plain = replace(
        PLAN, seed_sd=0.03, training_share=0, scene_training_sd=0, clips=2000, undisputed=0.4
    )
    differences = simulate_differences(plain, 0.0, 400, np.random.default_rng(1))
    variance = variance_components(differences, plain.design()).seed.mean()
    # A difference of two trainings, averaged over four seeds.
    assert variance == pytest.approx(2 * 0.03**2 / 4, rel=0.08)


def test_noise_common_to_all_models_cancels_and_noise_of_an_arm_remains():
    shares = {}
    for arm_share in (0.0, 0.5):
        plan = replace(PLAN, arm_share=arm_share, training_share=0, clips=2000, seed_sd=0.001)
        differences = simulate_differences(plan, 0.0, 200, np.random.default_rng(2))
        components = variance_components(differences, plan.design())
        shares[arm_share] = (components.location - components.residual).mean()
    assert abs(shares[0.0]) < 0.01 * shares[0.5]


def test_strata_and_studies_are_independent_and_a_seed_reproduces_the_simulation():
    first, again = (
        simulate_differences(PLAN, 0.0, 300, np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    effects = variance_components(first, PLAN.design()).effect
    assert abs(np.corrcoef(effects.T)[0, 1]) < 0.2
    assert len(np.unique(first.reshape(600, -1), axis=0)) == 600


def test_locations_differ_in_their_number_of_clips_if_requested():
    design = replace(PLAN, clips_sd=0.5).design()
    assert len(set(design.clips[:5])) == 5
    assert design.clips.mean() == pytest.approx(20, rel=0.25)
    assert set(PLAN.design().clips) == {20}
