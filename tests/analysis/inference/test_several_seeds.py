"""Interval, p-value and detectable effect, against hand-worked values, slow loops and scipy."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.inference.several_seeds import (
    Components,
    Design,
    bootstrap_effects,
    detectable_effect,
    interval,
    randomisation_p,
    variance_components,
)
from analysis.inference.single_seed import macro_gain
from focusnet.location_interval import resample_counts

SEEDS, SCENES, LOCATIONS, CLIPS = 5, 3, 4, 20
EVEN = Design(np.repeat(np.arange(SCENES), LOCATIONS), np.full(SCENES * LOCATIONS, CLIPS))
UNEVEN = Design(np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([4, 9, 2, 6, 6, 3, 8, 5]))


def draw_differences(generator, design, seeds=SEEDS, studies=()):
    size = (*studies, seeds, len(design.clips))
    return generator.integers(-design.clips, design.clips + 1, size=size)


def components_of(effect=0.1, seed=1e-4, location=1e-4, residual=0.0, location_df=9.0):
    """Components with the given variances; the deviations add up to ``location``."""
    return Components(
        *(np.asarray(value) for value in (effect, seed, location, residual)),
        seed_df=4,
        location_df=np.asarray(location_df),
        deviations=np.full(12, np.sqrt(location / 12)),
    )


def test_components_are_the_mean_squares_of_a_two_way_analysis_of_variance():
    differences = draw_differences(np.random.default_rng(1), EVEN)
    shares = (differences / CLIPS).reshape(SEEDS, SCENES, LOCATIONS)
    seed_means = [np.mean([shares[r, s].mean() for s in range(SCENES)]) for r in range(SEEDS)]
    of_locations = of_residuals = 0.0
    for s in range(SCENES):
        mean = shares[:, s].mean()
        rows, columns = shares[:, s].mean(axis=1), shares[:, s].mean(axis=0)
        of_locations += sum((column - mean) ** 2 for column in columns) / (LOCATIONS - 1)
        of_residuals += sum(
            (shares[r, s, i] - rows[r] - columns[i] + mean) ** 2
            for r in range(SEEDS)
            for i in range(LOCATIONS)
        ) / ((LOCATIONS - 1) * (SEEDS - 1))
    found = variance_components(differences, EVEN)
    assert found.effect == pytest.approx(np.mean(seed_means))
    assert found.seed == pytest.approx(np.var(seed_means, ddof=1) / SEEDS)
    assert found.location == pytest.approx(of_locations / LOCATIONS / SCENES**2)
    assert found.residual == pytest.approx(of_residuals / (SEEDS * LOCATIONS) / SCENES**2)


def test_the_squared_standard_error_is_the_variance_of_the_effect_on_average():
    """With known noise of seeds, of locations, and of seeds at locations."""
    generator = np.random.default_rng(2)
    studies, sd = 20_000, {"seed": 0.05, "location": 0.2, "single": 0.1}
    shape = (studies, SEEDS, SCENES * LOCATIONS)
    shares = sd["seed"] * generator.normal(size=(studies, SEEDS, 1))
    shares = shares + sd["location"] * generator.normal(size=(studies, 1, shape[2]))
    shares = shares + sd["single"] * generator.normal(size=shape)
    found = variance_components(shares * CLIPS, EVEN)
    cells = SCENES * LOCATIONS
    truth = sd["seed"] ** 2 / SEEDS + sd["location"] ** 2 / cells + sd["single"] ** 2 / cells / 5
    assert found.effect.var() == pytest.approx(truth, rel=0.05)
    assert (found.seed + found.location - found.residual).mean() == pytest.approx(truth, rel=0.02)
    rejected = np.abs(found.effect) > found.critical_value(0.05) * found.standard_error
    assert 0.02 < rejected.mean() < 0.052  # three standard errors of 0.05 are 0.005


def test_noise_of_seeds_alone_gives_the_t_test():
    by_seed = np.array([3, 5, 1, 4, 4])
    components = variance_components(by_seed[:, None] * np.ones(len(EVEN.clips)), EVEN)
    reference = stats.ttest_1samp(by_seed / CLIPS, 0)
    assert components.location == pytest.approx(0)
    assert randomisation_p(components) == pytest.approx(reference.pvalue)
    low, high = reference.confidence_interval(0.95)
    assert components.critical_value(0.05) * components.standard_error == pytest.approx(
        (high - low) / 2
    )


def test_noise_of_locations_alone_gives_the_sign_flip_test():
    design = Design(np.repeat([0, 1], 4), np.full(8, 10))
    by_location = np.array([4, 1, 3, 2, 1, -1, 2, 0])
    components = variance_components(np.tile(by_location, (3, 1)), design)
    assert (components.seed, components.residual) == pytest.approx((0, 0))
    scene_means = by_location.reshape(2, 4).mean(axis=1)
    # L / (L - 1) = 4 / 3: residuals around an estimated mean are too small.
    deviations = (by_location - np.repeat(scene_means, 4)) / 10 / 8 * np.sqrt(4 / 3)
    flips = np.array(list(itertools.product([-1, 1], repeat=8))) @ deviations
    effect = 0.06  # the estimated one is beyond all flips
    moved = Components(**{**vars(components), "effect": np.asarray(effect)})
    expected = np.mean(np.abs(flips) > effect)
    assert 0.05 < expected < 0.5
    found = randomisation_p(moved, flips=40_000, generator=np.random.default_rng(0))
    assert found == pytest.approx(expected, abs=0.01)


def test_with_both_noises_p_is_the_tail_of_rotated_seeds_plus_flipped_locations():
    """Rotating the seeds' differences by drawn orthogonal matrices, instead of the t formula."""
    components = variance_components(draw_differences(np.random.default_rng(5), UNEVEN), UNEVEN)
    generator = np.random.default_rng(6)
    rotated = generator.normal(size=(200_000, SEEDS))  # the direction of a rotated vector
    studentised = rotated.mean(axis=1) / (rotated.std(axis=1, ddof=1) / np.sqrt(SEEDS))
    signs = generator.choice([-1, 1], size=(200_000, len(UNEVEN.clips)))
    share = np.sqrt(components.persistent / components.location)
    walks = signs @ (components.deviations * share)
    null = np.sqrt(components.seed) * studentised + walks
    expected = np.mean(np.abs(null) >= abs(components.effect))
    assert 0 < share < 1
    assert 0.02 < expected < 0.98
    assert randomisation_p(components, flips=20_000) == pytest.approx(expected, abs=0.01)


def test_the_bootstrap_equals_a_slow_loop_over_the_same_draws():
    differences = draw_differences(np.random.default_rng(7), UNEVEN)
    resamples, generator = 50, np.random.default_rng(3)
    seeds = resample_counts(generator, SEEDS, resamples)
    drawn = [resample_counts(generator, size, resamples) for size in (3, 2, 3)]
    expected = []
    for turn in range(resamples):
        effects = []
        for r in range(SEEDS):
            for _ in range(seeds[turn, r]):
                shares = []
                for s, start in enumerate((0, 3, 5)):
                    times = drawn[s][turn]
                    places = range(start, start + len(times))
                    right = sum(t * differences[r, i] for t, i in zip(times, places, strict=True))
                    clips = sum(t * UNEVEN.clips[i] for t, i in zip(times, places, strict=True))
                    shares.append(right / clips)
                effects.append(np.mean(shares))
        assert len(effects) == SEEDS - 1
        expected.append(np.mean(effects))
    found = bootstrap_effects(
        differences, UNEVEN, resamples=resamples, generator=np.random.default_rng(3)
    )
    np.testing.assert_allclose(found, expected)


def test_seeds_that_agree_give_the_bootstrap_of_a_study_with_one_seed():
    differences = draw_differences(np.random.default_rng(8), UNEVEN, seeds=1)
    rows = []
    for place, (scene, clips) in enumerate(zip(UNEVEN.scene, UNEVEN.clips, strict=True)):
        gained = int(differences[0, place])
        for clip in range(clips):
            before, after = clip < max(0, -gained), clip < max(0, gained)
            answers = [f"s{scene}" if right else "wrong" for right in (before, after)]
            rows.append((f"s{scene}", str(place), *answers))
    clips = pd.DataFrame(rows, columns=["scene", "location", "template", "focus"])
    generator = np.random.default_rng(4)
    resample_counts(generator, 2, 300)  # the seeds are drawn first
    one = macro_gain(clips, resamples=300, generator=generator)
    found = bootstrap_effects(
        np.repeat(differences, 2, axis=0),
        UNEVEN,
        resamples=300,
        generator=np.random.default_rng(4),
    )
    np.testing.assert_allclose(np.quantile(found, [0.025, 0.975]), [one.low, one.high])


def test_the_interval_has_the_width_of_its_critical_value_and_the_shape_of_the_bootstrap():
    components = components_of(seed=4e-4, location=1e-4, location_df=20.0)
    normal = 0.1 + 7.0 * np.random.default_rng(0).normal(size=100_000)  # the scale does not matter
    low, high = interval(components, normal)
    # Half-width: sqrt(5e-4) * (4/5 * 2.776 + 1/5 * 2.086) = 0.05899, quantiles from tables.
    assert (low, high) == pytest.approx((0.1 - 0.0590, 0.1 + 0.0590), abs=0.001)
    skewed = 0.1 + np.random.default_rng(0).exponential(size=100_000) - 1
    low, high = interval(components, skewed)
    assert high - 0.1 > 2 * (0.1 - low) > 0


def test_satterthwaite_lies_between_the_degrees_of_freedom_of_seeds_and_of_both():
    # (2 + 1)^2 / (2^2 / 4 + 1^2 / 9) = 8.1
    assert components_of(seed=2e-4, location=1e-4).df == pytest.approx(8.1)
    assert components_of(seed=2e-4, location=1e-4, residual=3e-4).df == pytest.approx(4)


def test_each_scene_has_one_degree_of_freedom_less_than_locations():
    """Where the scenes are equally noisy; fewer where one scene has all the noise."""
    same = np.tile([3, -1, 0, 2], SCENES)
    assert variance_components(np.tile(same, (2, 1)), EVEN).location_df == pytest.approx(9)
    first = np.where(EVEN.scene == 0, same, 1)
    assert variance_components(np.tile(first, (2, 1)), EVEN).location_df == pytest.approx(3)


@pytest.mark.parametrize("right", [0, 1, 2, 7])
def test_where_nothing_varies_p_is_one(right):
    components = variance_components(np.full((3, 12), right), EVEN)  # up to rounding
    assert components.effect == pytest.approx(right / 20)
    assert components.standard_error == pytest.approx(0, abs=1e-12)
    assert randomisation_p(components) == 1


def test_one_seed_raises():
    with pytest.raises(ValueError, match=r"1 seed: .* needs at least 2"):
        variance_components(np.ones((1, 12)), EVEN)


def test_the_detectable_effect_is_claimed_in_four_of_five_studies():
    components = components_of(seed=4e-4, location=0.0)
    effect = detectable_effect(components, alpha=0.01)
    generator = np.random.default_rng(9)
    found = effect + 0.02 * generator.normal(size=200_000)
    errors = 0.02 * np.sqrt(generator.chisquare(4, size=200_000) / 4)
    assert np.mean(found / errors > stats.t.isf(0.005, 4)) == pytest.approx(0.8, abs=0.004)


def test_the_detectable_effect_tends_to_that_of_the_normal_distribution():
    # 1.960 + 0.842 = 2.802 standard errors
    many = components_of(seed=0.0, location=1e-4, location_df=1e6)
    assert detectable_effect(many) == pytest.approx(0.02802, rel=1e-3)
    assert detectable_effect(many, alpha=0.01) == pytest.approx(0.03417, rel=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_swapping_arms_mirrors_and_the_order_of_seeds_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    differences = draw_differences(generator, UNEVEN)
    components = variance_components(differences, UNEVEN)
    swapped = variance_components(-differences, UNEVEN)
    shuffled = variance_components(generator.permutation(differences), UNEVEN)
    for other, sign in ((swapped, -1), (shuffled, 1)):
        assert other.effect == pytest.approx(sign * components.effect)
        assert other.standard_error == pytest.approx(components.standard_error)
        assert randomisation_p(other, flips=100) == pytest.approx(
            randomisation_p(components, flips=100), abs=1e-9
        )
    ends = interval(components, bootstrap_effects(differences, UNEVEN, resamples=100))
    mirrored = interval(swapped, bootstrap_effects(-differences, UNEVEN, resamples=100))
    assert mirrored == pytest.approx((-ends[1], -ends[0]))
    assert ends[0] <= components.effect <= ends[1]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_more_clips_with_the_same_results_change_nothing(seed, times):
    """Clips of a location are not independent: more of them alone do not reduce the noise."""
    differences = draw_differences(np.random.default_rng(seed), UNEVEN)
    more = Design(UNEVEN.scene, UNEVEN.clips * times)
    few, many = (
        variance_components(counts, design)
        for counts, design in ((differences, UNEVEN), (differences * times, more))
    )
    assert many.effect == pytest.approx(few.effect)
    assert many.standard_error == pytest.approx(few.standard_error)


def test_many_studies_at_once_give_the_same_as_one_by_one():
    differences = draw_differences(np.random.default_rng(10), UNEVEN, studies=(3, 2))
    components = variance_components(differences, UNEVEN)
    ends = interval(components, bootstrap_effects(differences, UNEVEN, resamples=60))
    p, detectable = randomisation_p(components), detectable_effect(components)
    for place in itertools.product(range(3), range(2)):
        alone = variance_components(differences[place], UNEVEN)
        assert randomisation_p(alone) == pytest.approx(p[place])
        assert detectable_effect(alone) == pytest.approx(detectable[place])
        resampled = bootstrap_effects(differences[place], UNEVEN, resamples=60)
        assert interval(alone, resampled) == pytest.approx((ends[0][place], ends[1][place]))
