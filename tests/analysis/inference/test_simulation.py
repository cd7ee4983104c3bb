"""Simulated studies have the requested effect and noise."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.inference.simulation import World, observed_sd, simulate_arms
from focusnet.statistics.noise import noise_components
from focusnet.statistics.pooled import pooled_effect

SMALL = World("small", accuracies=(40, 60), seeds=(4, 3), seed_sd=2.0, locations=5, clips=20,
              clips_sd=0.0)  # fmt: skip


def effects(world, gains, studies, seed):
    arm, against = simulate_arms(world, gains, studies, np.random.default_rng(seed))
    return pooled_effect(arm, against, *world.design().arrays, world.judged_on())


@pytest.mark.parametrize("effect", [0.0, 3.0, -8.0])
@pytest.mark.parametrize("one_half", [False, True])
def test_the_mean_effect_is_the_true_one_in_every_stratum(effect, one_half):
    average, strata = effects(replace(SMALL, one_half=one_half), (effect, 0.0), 1500, 0)
    for one in (average, *strata):
        error = one.estimate.std() / 1500**0.5
        assert abs(one.estimate.mean() - effect) < 4 * error < 0.5


def test_the_noise_of_seeds_does_not_reduce_the_effect():
    """Phi is not linear: without the correction 20 would be simulated as 19."""
    noisy = replace(SMALL, accuracies=(50,), seeds=(4,), seed_sd=12.0, undisputed=0.2)
    average, _ = effects(noisy, (20.0, 0.0), 4000, 4)
    assert average.estimate.mean() == pytest.approx(20, abs=4 * average.estimate.std() / 4000**0.5)


@pytest.mark.parametrize("tails", ["normal", "t3", "skewed"])
def test_seeds_vary_as_requested(tails):
    # Without other noise of trainings, what is observed is the noise of seeds.
    plain = replace(
        SMALL, seed_sd=3.0, training_share=0, scene_training_sd=0, clips=2000, undisputed=0.4,
        tails=tails,
    )  # fmt: skip
    found = observed_sd(plain, np.random.default_rng(1), studies=600)
    assert found == pytest.approx(3.0, rel=0.15 if tails == "t3" else 0.06)


def test_what_is_observed_contains_the_luck_at_single_locations():
    rng = np.random.default_rng(2)
    floor = observed_sd(replace(SMALL, seed_sd=0.0), rng, studies=600)
    both = observed_sd(SMALL, rng, studies=600)
    assert floor > 1
    assert both**2 == pytest.approx(floor**2 + 2.0**2, rel=0.08)


def test_noise_common_to_all_models_cancels_and_noise_of_an_arm_remains():
    found = {}
    for share in (0.0, 0.5):
        world = replace(SMALL, arm_share=share, training_share=0, clips=2000, seed_sd=0.1)
        arm, against = simulate_arms(world, (0.0, 0.0), 200, np.random.default_rng(2))
        found[share] = noise_components(arm, against, *world.design().arrays).location_variance
    assert found[0.0] < 0.02 * found[0.5]


def test_one_stratum_or_one_arm_may_be_noisier():
    arm, against = simulate_arms(
        replace(SMALL, noisy=(4.0, 1.0), arm_noise=3.0, clips=400), (0.0, 0.0), 400,
        np.random.default_rng(5),
    )  # fmt: skip
    design = SMALL.design()
    here = design.half == 0
    sds = [[x[:, 0][:, here].mean(axis=1).std() for x in of] for of in (arm, against)]
    assert sds[0][0] > 2.5 * sds[0][1]
    assert sds[0][0] > 2 * sds[1][0]


def test_a_seed_reproduces_the_simulation_and_trainings_differ():
    first, again = (simulate_arms(SMALL, (0.0, 0.0), 50, np.random.default_rng(3)) for _ in "ab")
    for one, other in zip(first, again, strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)
    assert len(np.unique(first[0][0].reshape(200, -1), axis=0)) == 200


def test_locations_may_be_few_and_unequal():
    counts = ((1, 2, 3, 4, 1, 2, 3, 4, 1, 2), (2, 2, 2, 2, 2, 1, 1, 1, 1, 1))
    design = replace(SMALL, locations=counts, clips_sd=0.5).design()
    assert [int((design.half == h).sum()) for h in (0, 1)] == [23, 15]
    assert len(set(design.clips)) > 5
    assert set(SMALL.design().clips) == {20}
