"""The effect table: from predictions of several seeds and arms to verdicts."""

import numpy as np
import pandas as pd
import pytest
from results_folder import REPORT, predictions

from analysis.inference.claims import effect_table
from analysis.inference.locations import macro_gain
from analysis.inference.seeds import holm
from analysis.tables.predictions import PredictionsError, paired_clips

SCENES = ("bus", "park", "tram")
SEEDS = (3, 4, 5, 6)


def trial(seed, arm="focusnet", *, template=0.4, focus=0.4, subset=25, noise=0.0, draw=0):
    """Predictions of one trial: clips right with a probability that moves from seed to seed."""
    generator = np.random.default_rng([seed, subset, draw, len(arm)])
    shift = noise * generator.normal()
    lines = []
    for scene in SCENES:
        for location in range(4):
            for _ in range(12):
                wrong = SCENES[(SCENES.index(scene) + 1) % 3]
                right = generator.random(2) < (template, focus + shift)
                guesses = [scene if one else wrong for one in right]
                lines.append((scene, f"{scene}-{location}", "a", *guesses))
    frame = predictions(lines, SCENES)
    return frame.assign(seed=seed, arm=arm).assign(**{"data.subset": subset})


def same_trial(seed, arm="focusnet", subset=25):
    """The ten clips whose gain is 25 points by hand."""
    return predictions(REPORT).assign(seed=seed, arm=arm).assign(**{"data.subset": subset})


def test_accuracies_and_effect_are_those_by_hand():
    rows = effect_table(pd.concat([same_trial(seed) for seed in SEEDS]))
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row["arm"], row["against"], row["stratum"]) == ("focusnet", "template", None)
    assert (row["seeds"], row["locations"], row["lone_locations"]) == (4, 6, 0)
    assert row["accuracy_against"] == pytest.approx((2 / 4 + 3 / 4 + 1 / 2) / 3)
    assert row["accuracy"] == pytest.approx((3 / 4 + 3 / 4 + 2 / 2) / 3)
    assert row["effect"] == pytest.approx(0.25)
    assert row["low"] <= 0.25 <= row["high"]


def test_the_effect_is_the_mean_over_seeds_of_each_seeds_gain():
    frames = [trial(seed, focus=0.5) for seed in SEEDS]
    gains = [macro_gain(paired_clips(frame, "report"), resamples=1).gain for frame in frames]
    assert effect_table(pd.concat(frames))["effect"].item() == pytest.approx(np.mean(gains))


def test_a_large_effect_is_a_gain_its_mirror_a_loss_and_none_is_no_evidence():
    frames = [trial(seed, focus=0.8, subset=5) for seed in SEEDS]
    frames += [trial(seed, template=0.8, subset=25) for seed in SEEDS]
    frames += [trial(seed, subset=100) for seed in SEEDS]
    rows = effect_table(pd.concat(frames), stratum="data.subset")
    assert list(rows["stratum"]) == [5, 25, 100]
    assert list(rows["verdict"]) == ["gain", "loss", "no evidence"]
    assert (rows["low"][0] > 0, rows["high"][1] < 0) == (True, True)
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
    assert (rows["p_holm"] >= rows["p"]).all()


def test_an_effect_of_one_seed_is_no_claim():
    """Which a test of clips or of locations alone would make: the mean gain is 15 points."""
    frames = [trial(seed, focus=1.0 if seed == 4 else 0.4) for seed in SEEDS]
    row = effect_table(pd.concat(frames)).iloc[0]
    assert row["effect"] > 0.1
    assert row["verdict"] == "no evidence"


def test_arms_are_compared_by_seed_on_their_second_training():
    frames = [trial(seed, focus=0.8) for seed in SEEDS]
    frames += [trial(seed, "kd", focus=0.4, template=0.8, draw=1) for seed in (4, 5, 6, 7)]
    rows = effect_table(pd.concat(frames), [("focusnet", "kd"), ("kd", "template")])
    assert list(rows["seeds"]) == [3, 4]
    assert list(rows["verdict"]) == ["gain", "loss"]
    assert rows["accuracy_against"][0] == pytest.approx(0.4, abs=0.1)


def test_what_cannot_be_tested_says_so_and_does_not_weaken_the_others():
    frames = [trial(seed, focus=0.6, subset=25) for seed in SEEDS]
    alone = effect_table(pd.concat(frames), stratum="data.subset")
    frames.append(trial(3, focus=0.9, subset=50))
    frames.append(trial(3, "kd", subset=100))
    rows = effect_table(pd.concat(frames), stratum="data.subset")
    assert list(rows["seeds"]) == [4, 1, 0]
    assert list(rows["verdict"][1:]) == ["not tested", "not tested"]
    assert rows["effect"][1] > 0.3
    assert rows.loc[1:, ["low", "high", "p", "p_holm", "detectable"]].isna().all(axis=None)
    pd.testing.assert_series_equal(rows.loc[0], alone.loc[0])


def test_two_strata_ask_for_a_larger_effect_than_one():
    one = pd.concat([trial(seed) for seed in SEEDS])
    two = pd.concat([one, *(trial(seed, subset=50) for seed in SEEDS)])
    lone, first = (effect_table(frame, stratum="data.subset").iloc[0] for frame in (one, two))
    assert first["p"] == lone["p"]
    assert first["detectable"] > lone["detectable"] > 2.8 * lone["standard_error"]


def test_the_order_of_rows_and_the_other_half_do_not_matter():
    frame = pd.concat([trial(seed, focus=0.5) for seed in SEEDS])
    expected = effect_table(frame)
    pd.testing.assert_frame_equal(effect_table(frame.sample(frac=1, random_state=0)), expected)
    report = frame[frame["half"] == "report"]
    pd.testing.assert_frame_equal(effect_table(report), expected)
    # On select all is wrong before and after.
    assert effect_table(frame, half="select")["effect"].item() == 0


def test_scenes_with_one_location_are_counted():
    lines = [line for line in REPORT if line[1] != "lyon-1"]
    frames = [predictions(lines).assign(seed=seed, arm="focusnet") for seed in SEEDS]
    row = effect_table(pd.concat(frames)).iloc[0]
    assert (row["locations"], row["lone_locations"]) == (5, 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="seed"), "no column seed"),
        (lambda frame: frame.drop(columns="arm"), "no column arm"),
        (lambda frame: frame.drop(columns="data.subset"), r"no column data\.subset"),
        (lambda frame: frame.filter(regex="^(?!logit)"), "no column logit"),
        (lambda frame: pd.concat([frame, frame]), "focusnet has a clip of seed 3 twice"),
        (lambda frame: frame.iloc[:-1], "seed 4 was tested on other clips"),
        (
            lambda frame: frame.assign(
                filename=frame["filename"].where(frame["seed"] == 3, "x" + frame["filename"])
            ),
            "seed 4 was tested on other clips",
        ),
    ],
)
def test_predictions_that_cannot_be_compared_are_refused(spoil, message):
    frame = pd.concat([same_trial(3), same_trial(4)], ignore_index=True)
    with pytest.raises(PredictionsError, match=message):
        effect_table(spoil(frame), stratum="data.subset")
