"""Verdicts, from predictions of several seeds and arms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_folder import REPORT, predictions

from analysis.inference.location_counts import count_by_location, pair_by_seed
from analysis.inference.single_seed import macro_gain
from analysis.inference.verdict import claim_signs, holm, verdict_table
from analysis.tables.predictions import FOCUS, TEMPLATE, PredictionsError, paired_clips

SCENES = ("bus", "park", "tram")
SEEDS = (3, 4, 5, 6)


def trial(seed, arm="focusnet", *, template=0.4, focus=0.4, subset=25, draw=0):
    """Predictions of one trial whose clips are right with the given probabilities."""
    generator = np.random.default_rng([seed, subset, draw, len(arm), 1])
    lines = []
    for scene in SCENES:
        for location in range(4):
            for _ in range(12):
                wrong = SCENES[(SCENES.index(scene) + 1) % 3]
                right = generator.random(2) < (template, focus)
                guesses = [scene if one else wrong for one in right]
                lines.append((scene, f"{scene}-{location}", "a", *guesses))
    return predictions(lines, SCENES).assign(seed=seed, arm=arm, subset=subset)


def same_trial(seed, lines=REPORT):
    """The ten clips whose gain is 25 points when computed by hand."""
    return predictions(lines).assign(seed=seed, arm="focusnet", subset=25)


def verdicts_of(frames, arm="focusnet", against=TEMPLATE, half="report"):
    """The verdict table of one comparison in all strata of ``frames``."""
    counts = {}
    for frame in frames:
        key = frame["subset"].iloc[0], frame["arm"].iloc[0]
        one = count_by_location(paired_clips(frame, half))
        counts.setdefault(key, {})[frame["seed"].iloc[0]] = one
    other, stage = (arm, TEMPLATE) if against == TEMPLATE else (against, FOCUS)
    strata = [
        (
            subset,
            pair_by_seed(counts.get((subset, arm), {}), counts.get((subset, other), {}), stage),
        )
        for subset in sorted({subset for subset, _ in counts})
    ]
    return verdict_table(strata, (arm, against))


def test_accuracies_and_effect_are_those_by_hand():
    rows = verdicts_of([same_trial(seed) for seed in SEEDS])
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row["arm"], row["against"], row["stratum"]) == ("focusnet", "template", 25)
    assert (row["seeds"], row["locations"], row["lone_locations"]) == (4, 6, 0)
    assert row["accuracy_against"] == pytest.approx((2 / 4 + 3 / 4 + 1 / 2) / 3)
    assert row["accuracy"] == pytest.approx((3 / 4 + 3 / 4 + 2 / 2) / 3)
    assert row["effect"] == pytest.approx(0.25)
    assert row["low"] <= 0.25 <= row["high"]


def test_the_effect_is_the_mean_over_seeds_of_each_seeds_gain():
    frames = [trial(seed, focus=0.5) for seed in SEEDS]
    gains = [macro_gain(paired_clips(frame, "report"), resamples=1).gain for frame in frames]
    assert verdicts_of(frames)["effect"].item() == pytest.approx(np.mean(gains))


def test_a_large_effect_is_a_gain_its_mirror_a_loss_and_none_is_no_evidence():
    frames = [trial(seed, focus=0.8, subset=5) for seed in SEEDS]
    frames += [trial(seed, template=0.8, subset=25) for seed in SEEDS]
    frames += [trial(seed, subset=100) for seed in SEEDS]
    rows = verdicts_of(frames)
    assert list(rows["stratum"]) == [5, 25, 100]
    assert list(rows["verdict"]) == ["gain", "loss", "no evidence"]
    assert (rows["low"][0] > 0, rows["high"][1] < 0) == (True, True)
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
    assert (rows["p_holm"] >= rows["p"]).all()


def test_an_effect_of_one_seed_supports_no_claim():
    """Though the mean gain is 15 points: a test over clips or locations alone would claim it."""
    row = verdicts_of([trial(seed, focus=1.0 if seed == 4 else 0.4) for seed in SEEDS]).iloc[0]
    assert row["effect"] > 0.1
    assert row["verdict"] == "no evidence"


def test_arms_are_compared_by_seed_on_their_second_training():
    frames = [trial(seed, focus=0.8) for seed in SEEDS]
    frames += [trial(seed, "kd", focus=0.4, template=0.8, draw=1) for seed in (4, 5, 6, 7)]
    against_kd = verdicts_of(frames, against="kd").iloc[0]
    assert (against_kd["seeds"], against_kd["verdict"]) == (3, "gain")
    assert against_kd["accuracy_against"] == pytest.approx(0.4, abs=0.1)
    of_kd = verdicts_of(frames, arm="kd").iloc[0]
    assert (of_kd["seeds"], of_kd["verdict"]) == (4, "loss")


def test_untested_strata_do_not_weaken_the_others():
    frames = [trial(seed, focus=0.6, subset=25) for seed in SEEDS]
    alone = verdicts_of(frames)
    frames.append(trial(3, focus=0.9, subset=50))
    frames.append(trial(3, "kd", subset=100))
    rows = verdicts_of(frames)
    assert list(rows["seeds"]) == [4, 1, 0]
    assert list(rows["verdict"][1:]) == ["not tested", "not tested"]
    assert rows["effect"][1] > 0.3
    assert rows.loc[1:, ["low", "high", "p", "p_holm", "detectable"]].isna().all(axis=None)
    pd.testing.assert_series_equal(rows.loc[0], alone.loc[0])


def test_with_two_strata_the_detectable_effect_is_larger_than_with_one():
    one = [trial(seed) for seed in SEEDS]
    two = [*one, *(trial(seed, subset=50) for seed in SEEDS)]
    lone, first = (verdicts_of(frames).iloc[0] for frames in (one, two))
    assert first["p"] == lone["p"]
    assert first["detectable"] > lone["detectable"] > 2.8 * lone["standard_error"]


def test_the_order_of_rows_and_the_other_half_do_not_matter():
    frames = [trial(seed, focus=0.5) for seed in SEEDS]
    expected = verdicts_of(frames)
    shuffled = [frame.sample(frac=1, random_state=0) for frame in frames]
    pd.testing.assert_frame_equal(verdicts_of(shuffled), expected)
    report = [frame[frame["half"] == "report"] for frame in frames]
    pd.testing.assert_frame_equal(verdicts_of(report), expected)
    # On select all predictions are wrong, before and after.
    assert verdicts_of(frames, half="select")["effect"].item() == 0


def test_scenes_with_one_location_are_counted():
    lines = [line for line in REPORT if line[1] != "lyon-1"]
    row = verdicts_of([same_trial(seed, lines) for seed in SEEDS]).iloc[0]
    assert (row["locations"], row["lone_locations"]) == (5, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.iloc[:-2],
        lambda frame: frame.assign(filename="x" + frame["filename"]),
    ],
)
def test_trainings_that_were_tested_on_different_clips_are_refused(spoil):
    with pytest.raises(PredictionsError, match="clips of seed 4 differ from those of seed 3"):
        verdicts_of([same_trial(3), spoil(same_trial(4))])


def test_holm_adjusts_a_worked_example():
    # By size 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which must not be below the one before.
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.02])), [0.5, np.nan, 0.04])
    np.testing.assert_allclose(holm(np.array([0.9, 0.6])), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.2))
def test_holm_rejects_what_its_step_down_procedure_rejects(p, alpha):
    rejected = set()
    for step, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[place] * (len(p) - step) > alpha:
            break
        rejected.add(place)
    assert set(np.flatnonzero(holm(np.array(p)) <= alpha)) == rejected


def test_a_claim_needs_the_p_value_and_the_interval():
    low, high = np.array([0.1, -0.1, -0.2, 0.1]), np.array([0.2, 0.2, -0.1, 0.2])
    p = np.array([0.05, 0.01, 0.01, 0.06])
    np.testing.assert_array_equal(claim_signs(low, high, p), [1, 0, -1, 0])
    assert claim_signs(np.array(np.nan), np.array(np.nan), np.array(np.nan)) == 0
