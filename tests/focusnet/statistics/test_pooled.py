"""The effect averaged over strata, against a slow independent reference, by hand, and in worlds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from focusnet.statistics.pooled import Effect, pooled_effect, trend


def reference(arm, against, scene, half, clips):
    """One study, written as the equations in docs/statistics.md, with loops."""
    strata = len(arm)
    scenes = sorted(set(scene))
    at = {
        (s, h): [j for j in range(len(scene)) if scene[j] == s and half[j] == h]
        for s in scenes
        for h in (0, 1)
    }
    total = {key: sum(clips[j] for j in places) for key, places in at.items()}
    weight = {
        j: clips[j] / total[key] / len(scenes) / 2 for key, places in at.items() for j in places
    }
    effects, seed_variances, dfs, deviations, residuals = [], [], [], [], []
    for k in range(strata):
        x = np.asarray(arm[k]) - np.asarray(against[k])
        macro = {0: [], 1: []}
        dev = {j: [] for j in range(len(scene))}
        for r in range(len(x)):
            h = r % 2
            macro[h].append(
                np.mean([sum(clips[j] * x[r, j] for j in at[s, h]) / total[s, h] for s in scenes])
            )
            for s in scenes:
                mean = sum(clips[j] * x[r, j] for j in at[s, h]) / total[s, h]
                for j in at[s, h]:
                    dev[j].append(x[r, j] - mean)
        effects.append(np.mean([np.mean(macro[h]) for h in (0, 1)]))
        squares = sum(sum((m - np.mean(macro[h])) ** 2 for m in macro[h]) for h in (0, 1))
        dfs.append(len(x) - 2)
        variance = squares / dfs[-1]
        seed_variances.append(variance * sum(1 / len(macro[h]) for h in (0, 1)) / 4)
        factor = {
            j: weight[j] / np.sqrt(1 - clips[j] / total[key]) if len(at[key]) > 1 else 0.0
            for key, places in at.items()
            for j in places
        }
        deviations.append([factor[j] * np.mean(dev[j]) for j in range(len(scene))])
        residuals.append(
            sum(
                factor[j] ** 2 * np.var(dev[j], ddof=1) / len(dev[j])
                for j in range(len(scene))
                if len(dev[j]) > 1
            )
        )
    seeds = sum(seed_variances) / strata**2
    df = sum(seed_variances) ** 2 / sum(v**2 / d for v, d in zip(seed_variances, dfs, strict=True))
    seen = [j for key, places in at.items() if len(places) > 1 for j in places]
    location = max(
        sum(np.mean([d[j] for d in deviations]) ** 2 for j in range(len(scene)))
        - sum(residuals) / strata**2,
        0,
    )
    location *= sum(w**2 for w in weight.values()) / sum(weight[j] ** 2 for j in seen)
    return np.mean(effects), seeds, df, location


def random_study(seed, studies=1, seeds=(5, 4, 3), lone=False):
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 5, size=(2, 3))
    if lone:
        counts[0, 1] = 1
    scene = np.concatenate([np.repeat(np.arange(3), counts[h]) for h in (0, 1)])
    half = np.repeat([0, 1], counts.sum(axis=1))
    clips = rng.integers(3, 40, len(scene))
    arm, against = ([rng.normal(50, 10, (studies, r, len(scene))) for r in seeds] for _ in range(2))
    return arm, against, scene, half, clips


@pytest.mark.parametrize("lone", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_and_variances_are_those_of_the_equations(seed, lone):
    arm, against, *design = random_study(seed, studies=2, lone=lone)
    average, strata = pooled_effect(arm, against, *design)
    for study in (0, 1):
        own = reference([a[study] for a in arm], [a[study] for a in against], *design)
        found = (
            average.estimate,
            average.seed_variance,
            average.seed_df,
            average.location_variance,
        )
        np.testing.assert_allclose([one[study] for one in found], own, rtol=1e-10, atol=1e-12)
        for place, stratum in enumerate(strata):
            own = reference([arm[place][study]], [against[place][study]], *design)
            assert stratum.estimate[study] == pytest.approx(own[0])
            assert stratum.location_variance[study] == pytest.approx(own[3], abs=1e-12)


def test_an_example_by_hand():
    # One scene, two locations of equal size in each half, four seeds, against zero.
    scene, half, clips = np.zeros(4, int), np.array([0, 0, 1, 1]), np.full(4, 10)
    x = np.array([[1.0, 3, 9, 9], [9, 9, 0, 4], [3, 5, 9, 9], [9, 9, 2, 6]])[None]
    average, _ = pooled_effect([x], [0 * x], scene, half, clips)
    # Half 0: seeds 0 and 2 have 2 and 4; half 1: seeds 1 and 3 have 2 and 4.
    assert average.estimate[0] == 3
    # Squares within halves 2 + 2, df 2, times (1/2 + 1/2) / 4.
    assert average.seed_variance[0] == pytest.approx(0.5)
    assert average.seed_df[0] == 2
    # Deviations -1 and 1 in half 0, -2 and 2 in half 1, always the same: no residual. Each is
    # weighted with (1/2)(1/2) / sqrt(1 - 1/2).
    assert average.location_variance[0] == pytest.approx((1 + 1 + 4 + 4) / 8)
    assert average.location_df[0] == pytest.approx(2)  # one a half
    t = stats.t.ppf(0.975, 2)
    low, high = average.interval()
    assert high[0] - low[0] == pytest.approx(2 * t * np.sqrt(1.75))
    low, high = average.interval(locations=False)
    assert high[0] - low[0] == pytest.approx(2 * t * np.sqrt(0.5))


def test_the_critical_value_weighs_the_quantiles_by_their_variances():
    effect = Effect(*(np.array([value]) for value in (1.0, 3.0, 4.0, 1.0, 60.0)))
    expected = 0.75 * stats.t.ppf(0.975, 4) + 0.25 * stats.t.ppf(0.975, 60)
    assert effect.critical_value(0.05)[0] == pytest.approx(expected)


@given(seed=st.integers(0, 10**6), level=st.floats(0.5, 0.999))
def test_p_value_and_interval_agree(seed, level):
    arm, against, *design = random_study(seed, studies=1)
    for locations in (True, False):
        average, _ = pooled_effect(arm, against, *design)
        low, high = average.interval(level, locations=locations)
        outside = low[0] > 0 or high[0] < 0
        p = average.p_value(locations=locations)[0]
        assert outside == (p < 1 - level) or abs(p - (1 - level)) < 1e-9


@given(seed=st.integers(0, 10**6))
def test_swapped_arms_change_the_sign_alone(seed):
    arm, against, *design = random_study(seed)
    one, _ = pooled_effect(arm, against, *design)
    other, _ = pooled_effect(against, arm, *design)
    np.testing.assert_allclose(one.estimate, -other.estimate)
    for left, right in zip(one[1:], other[1:], strict=True):
        np.testing.assert_allclose(left, right)


def test_the_other_half_of_a_seed_is_not_looked_at():
    arm, against, scene, half, clips = random_study(3)
    one, _ = pooled_effect(arm, against, scene, half, clips)
    for values in arm:
        for r in range(values.shape[1]):
            values[:, r, half != r % 2] = np.nan
    other, _ = pooled_effect(arm, against, scene, half, clips)
    np.testing.assert_array_equal(one.estimate, other.estimate)
    np.testing.assert_array_equal(one.location_variance, other.location_variance)


def test_a_trend_is_the_least_squares_slope_of_the_strata():
    arm, against, *design = random_study(1)
    position = np.log([5.0, 25.0, 100.0])
    _, strata = pooled_effect(arm, against, *design)
    slope = trend(arm, against, *design, position)
    fitted = np.polyfit(position, [one.estimate[0] for one in strata], 1)[0]
    assert slope.estimate[0] == pytest.approx(fitted)


def test_locations_that_all_differ_alike_in_all_strata_are_averaged_before_they_are_squared():
    rng = np.random.default_rng(0)
    scene, half, clips = np.tile(np.repeat([0, 1], 4), 2), np.repeat([0, 1], 8), np.full(16, 5)
    shared = rng.normal(0, 5, 16)
    alike = [np.broadcast_to(shared, (1, 4, 16)).copy() for _ in range(4)]
    opposite = [sign * one for sign, one in zip((1, -1, 1, -1), alike, strict=True)]
    zero = [0 * one for one in alike]
    same, strata = pooled_effect(alike, zero, scene, half, clips)
    cancelled, _ = pooled_effect(opposite, zero, scene, half, clips)
    assert same.location_variance[0] == pytest.approx(strata[0].location_variance[0])
    assert cancelled.location_variance[0] == pytest.approx(0)


def test_two_seeds_are_too_few():
    arm, against, *design = random_study(0, seeds=(4, 2, 4))
    with pytest.raises(ValueError, match="at least 3 seeds, received 2"):
        pooled_effect(arm, against, *design)


def test_false_claims_come_in_five_percent_of_studies_without_effect():
    """Crossed noise of trainings and locations, from an independent generator."""
    rng = np.random.default_rng(7)
    studies, seeds = 2000, (12, 10, 8, 6, 6)
    scene, half = np.tile(np.repeat(np.arange(10), 7), 2), np.repeat([0, 1], 70)
    clips = rng.integers(60, 160, 140)
    persistent = rng.normal(0, 6, (studies, 1, 140))
    arm = []
    for r in seeds:
        training = rng.normal(0, 1.4, (studies, r, 1))
        own = persistent + rng.normal(0, 3, (studies, 1, 140)) + rng.normal(0, 8, (studies, r, 140))
        # The truth is over all locations, not over those that were drawn.
        arm.append(own + training)
    average, strata = pooled_effect(arm, [0 * one for one in arm], scene, half, clips)
    most = stats.binom.isf(0.01, studies, 0.05)
    assert (average.p_value() < 0.05).sum() <= most
    for one in strata:
        assert (one.p_value() < 0.05).sum() <= most
    # An effect that is there is found.
    shifted = [one + 2.5 for one in arm]
    average, _ = pooled_effect(shifted, [0 * one for one in arm], scene, half, clips)
    assert (average.p_value() < 0.05).mean() > 0.6
    assert abs(average.estimate.mean() - 2.5) < 0.05


def test_a_study_of_one_half_goes_by_the_same_formulas():
    """As half of a cross-fitted study whose other half has no noise and the same effect."""
    rng = np.random.default_rng(5)
    scene, half, clips = np.tile(np.repeat([0, 1], 3), 2), np.repeat([0, 1], 6), np.full(12, 10)
    x = rng.normal(2, 3, (4, 5, 12))
    zero = [0 * x]
    one, (stratum,) = pooled_effect([x], zero, scene, half, clips, [np.zeros(5, int)])
    macro = x[..., :6].mean(axis=-1)
    np.testing.assert_allclose(one.estimate, macro.mean(axis=1))
    np.testing.assert_allclose(one.seed_variance, macro.var(axis=1, ddof=1) / 5)
    assert set(one.seed_df) == {4}
    np.testing.assert_array_equal(one.location_variance, stratum.location_variance)
    # With many seeds and a persistent difference alone: the variance of the mean of locations.
    shared = np.broadcast_to(rng.normal(0, 4, 12), (1, 2, 12))
    found, _ = pooled_effect([shared], [0 * shared], scene, half, clips, [np.zeros(2, int)])
    means = [np.var(shared[0, 0, own], ddof=1) / 3 for own in (slice(0, 3), slice(3, 6))]
    assert found.location_variance[0] == pytest.approx(sum(means) / 4)
    assert found.location_df[0] == pytest.approx(4)  # three locations in two scenes


def test_the_half_that_no_seed_is_judged_on_does_not_matter():
    arm, against, scene, half, clips = random_study(3)
    judged_on = [np.zeros(one.shape[1], int) for one in arm]
    one, _ = pooled_effect(arm, against, scene, half, clips, judged_on)
    here = half == 0
    cut = [[values[..., here] for values in of_arm] for of_arm in (arm, against)]
    other, _ = pooled_effect(*cut, scene[here], half[here], clips[here], judged_on)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right)


def test_seeds_may_be_judged_in_any_order():
    arm, against, *design = random_study(4, seeds=(5, 4))
    places = [np.array([4, 1, 0, 3, 2]), np.array([3, 2, 0, 1])]
    judged_on = [place % 2 for place in places]
    shuffled = [
        [values[:, place] for values, place in zip(of_arm, places, strict=True)]
        for of_arm in (arm, against)
    ]
    one, _ = pooled_effect(arm, against, *design)
    other, _ = pooled_effect(*shuffled, *design, judged_on)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right)


def test_a_half_without_seeds_is_refused():
    arm, against, *design = random_study(4, seeds=(4, 4))
    judged_on = [np.array([0, 1, 0, 1]), np.zeros(4, int)]
    with pytest.raises(ValueError, match="no seed that is judged on half 1"):
        pooled_effect(arm, against, *design, judged_on)
    with pytest.raises(ValueError, match="at least 2 seeds, received 1"):
        pooled_effect(*[[x[:, :1] for x in of] for of in (arm, against)], *design,
                      [np.zeros(1, int)] * 2)  # fmt: skip
