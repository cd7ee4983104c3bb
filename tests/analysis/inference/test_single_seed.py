"""The gain of one training and its interval: by hand, by a slow loop, by variance, by coverage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_folder import REPORT, SCENES, predictions

from analysis.inference.single_seed import macro_gain
from analysis.tables.predictions import PredictionsError, paired_clips
from focusnet.location_interval import resample_counts
from focusnet.training.metrics import macro_accuracy


def clips_of(rows):
    """Clips from (scene, location, template right, FocusNet right)."""
    frame = pd.DataFrame(rows, columns=["scene", "location", "before", "after"])
    wrong = "elsewhere"
    return pd.DataFrame(
        {
            "scene": frame["scene"],
            "location": frame["location"],
            "template": frame["scene"].where(frame["before"].astype(bool), wrong),
            "focus": frame["scene"].where(frame["after"].astype(bool), wrong),
        }
    )


def draw_clips(generator, scenes, locations, clips, gains=(-0.4, 0.5), base=0.45):
    """Clips of locations that differ widely: FocusNet loses at some and gains at others."""
    rows = []
    for scene in range(scenes):
        for location in range(locations):
            right = base + generator.choice(gains)
            for _ in range(clips):
                rows.append(
                    (
                        f"s{scene}",
                        f"{scene}-{location}",
                        generator.random() < base,
                        generator.random() < right,
                    )
                )
    return clips_of(rows)


def test_the_gain_of_ten_clips_is_that_computed_by_hand():
    effect = macro_gain(paired_clips(predictions(), "report"))
    assert effect.before == pytest.approx((2 / 4 + 3 / 4 + 1 / 2) / 3)
    assert effect.after == pytest.approx((3 / 4 + 3 / 4 + 2 / 2) / 3)
    assert effect.gain == pytest.approx(0.25)
    assert (effect.locations, effect.lone_locations) == (6, 0)


def test_accuracies_are_those_of_the_study_on_the_same_logits():
    generator = np.random.default_rng(3)
    scenes = tuple("abcd")
    labels = generator.integers(4, size=80)
    frame = predictions(
        [(scenes[y], f"{y}-{i % 3}", "a", *generator.choice(scenes, 2)) for i, y in
         enumerate(labels)],
        scenes,
    )  # fmt: skip
    logits = [f"logit/{scene}" for scene in scenes]
    frame[logits] = generator.normal(size=(len(frame), 4)).astype(np.float32)
    effect = macro_gain(paired_clips(frame, "report"))
    for stage, found in (("template", effect.before), ("focus", effect.after)):
        rows = frame[(frame["stage"] == stage) & (frame["half"] == "report")]
        assert found == pytest.approx(macro_accuracy(rows[logits].to_numpy(), labels))


def test_the_interval_is_that_of_a_slow_loop_over_the_same_draws():
    clips = paired_clips(predictions(), "report")
    resamples, seed = 200, 11
    generator = np.random.default_rng(seed)
    draws = {}
    for scene in sorted(SCENES):  # the order in which the scenes are drawn
        names = sorted({line[1] for line in REPORT if line[0] == scene})
        draws[scene] = names, resample_counts(generator, len(names), resamples)
    gains = []
    for turn in range(resamples):
        recalls = {"template": [], "focus": []}
        for names, counts in draws.values():
            drawn = [
                line
                for name, times in zip(names, counts[turn], strict=True)
                for _ in range(times)
                for line in REPORT
                if line[1] == name
            ]
            for stage, column in (("template", 3), ("focus", 4)):
                recalls[stage].append(sum(line[column] == line[0] for line in drawn) / len(drawn))
        gains.append(float(np.mean(recalls["focus"]) - np.mean(recalls["template"])))
    effect = macro_gain(
        clips, resamples=resamples, level=0.8, generator=np.random.default_rng(seed)
    )
    np.testing.assert_allclose([effect.low, effect.high], np.quantile(gains, [0.1, 0.9]))


def test_the_interval_is_as_wide_as_the_variance_of_independent_locations_says():
    """The variance of the mean over S scenes is the sum of s^2 / L over scenes, divided by S^2."""
    scenes, locations, per_location = 20, 5, 4
    clips = draw_clips(np.random.default_rng(5), scenes, locations, per_location)
    right = (clips[["template", "focus"]].to_numpy() == clips[["scene"]].to_numpy()).astype(float)
    by_location = (right[:, 1] - right[:, 0]).reshape(scenes, locations, per_location).mean(axis=2)
    variance = (by_location.var(axis=1, ddof=1) / locations).sum() / scenes**2
    effect = macro_gain(clips, resamples=20_000)
    # Drawing L of L locations would make it narrower by a tenth.
    assert effect.high - effect.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.04)


def test_the_interval_contains_the_true_gain_in_95_percent_of_studies():
    """Locations differ far more than clips of one do: intervals over clips would contain it half
    as often."""
    generator = np.random.default_rng(17)
    studies = 250
    held = 0
    for _ in range(studies):
        effect = macro_gain(draw_clips(generator, 10, 6, 6), resamples=400)
        held += effect.low <= 0.05 <= effect.high
    # Three standard errors of a share of 0.95 among 250, about 0.04.
    assert 0.91 <= held / studies <= 0.99


def test_a_scene_with_one_location_is_counted_and_adds_no_width():
    lone = clips_of([("bus", "1", 0, 1), ("bus", "1", 0, 0)])
    effect = macro_gain(lone)
    assert (effect.gain, effect.low, effect.high) == (0.5, 0.5, 0.5)
    assert effect.lone_locations == 1


def test_a_location_name_in_two_scenes_is_two_locations():
    both = clips_of([("bus", "1", 0, 1), ("bus", "2", 0, 1), ("park", "1", 1, 0)])
    assert macro_gain(both).locations == 3


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_order_of_clips_does_not_matter_and_swapping_stages_mirrors_the_interval(seed):
    generator = np.random.default_rng(seed)
    clips = draw_clips(generator, 3, 3, 2)
    effect = macro_gain(clips, resamples=50)
    assert macro_gain(clips.sample(frac=1, random_state=seed), resamples=50) == effect
    mirrored = macro_gain(clips, before="focus", after="template", resamples=50)
    assert mirrored.gain == pytest.approx(-effect.gain)
    assert (mirrored.low, mirrored.high) == pytest.approx((-effect.high, -effect.low))


def test_stages_are_paired_by_clip_not_by_row():
    frame = predictions()
    shuffled = frame.sample(frac=1, random_state=1)
    expected = paired_clips(frame, "report").sort_values("filename").reset_index(drop=True)
    found = paired_clips(shuffled, "report").sort_values("filename").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    assert list(expected["focus"]) == [line[4] for line in REPORT]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns="location"), "no column location"),
        (lambda frame: frame.filter(regex="^(?!logit)"), "no column logit"),
        (lambda frame: frame.drop(index=frame.index[-1]), "different clips of report"),
        (lambda frame: pd.concat([frame, frame]), "a clip of report twice"),
        (lambda frame: frame[frame["half"] == "select"], "no clips of report"),
    ],
)
def test_predictions_that_cannot_be_paired_are_refused(spoil, message):
    with pytest.raises(PredictionsError, match=message):
        paired_clips(spoil(predictions()), "report")
