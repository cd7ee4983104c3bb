"""Tests of the accuracy by subset, and of when published results are shown."""

import json

import numpy as np
import pytest
from results_folder import confirmed_study, drawn_clips, finished, two_strata, write_study

from analysis.figures.confirmation import CURVES
from analysis.inference.single_seed import macro_gain
from analysis.read_study import read_study
from analysis.sections.subset_curve import (
    CLIPS,
    PUBLISHED,
    SCENES,
    is_tau22,
    subset_curve,
    subset_section,
)


def with_data(folder, **changes):
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    record["data"][0] |= changes
    path.write_text(json.dumps(record))
    return read_study(folder)


def test_one_training_has_an_interval_over_locations(tmp_path):
    study = read_study(two_strata(tmp_path / "s"))
    curve = subset_curve(study)
    assert list(curve["curve"]) == ["template", "FocusNet"] * 2
    np.testing.assert_allclose(curve["accuracy"], [7 / 12, 10 / 12] * 2)
    assert (curve["low"] <= curve["accuracy"]).all()
    assert (curve["high"] >= curve["accuracy"]).all()
    assert list(curve["seeds"]) == [1] * 4
    gain = macro_gain(study.strata[0].clips)
    assert (gain.before, gain.after) == pytest.approx(tuple(curve["accuracy"][:2]))


def test_with_fresh_seeds_rivals_have_a_curve_too(tmp_path):
    study = read_study(confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.5}))
    curve = subset_curve(study)
    arms = ["template", "focusnet", "label_smoothing", "distillation"]
    assert list(curve["arm"]) == arms * 2
    assert list(curve["seeds"]) == [3] * 8
    assert ((curve["low"] < curve["accuracy"]) & (curve["accuracy"] < curve["high"])).all()
    accuracy = study.strata[0].confirmation.trials
    focusnet = accuracy[accuracy["arm"] == "focusnet"]["focus/report/macro_accuracy"]
    assert curve["accuracy"][1] == pytest.approx(focusnet.mean())
    teachers = {name for name in CURVES if not name.startswith("student")}
    assert set(curve["curve"]) == teachers


def test_published_accuracies():
    baseline, team = PUBLISHED.values()
    assert list(baseline) == list(team) == [5, 10, 25, 50, 100]
    assert (baseline[5], baseline[100], team[5], team[100]) == (42.4, 57.0, 48.0, 62.2)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clips": CLIPS, "classes": sorted(SCENES), "skipped": []}, True),
        ({"clips": CLIPS, "classes": sorted(SCENES), "skipped": ["a: empty"]}, True),
        ({"clips": CLIPS - 1, "classes": sorted(SCENES), "skipped": []}, False),
        ({"clips": 1520, "classes": sorted(SCENES), "skipped": []}, False),  # the demo's own data
        ({"clips": CLIPS, "classes": ["bus"], "skipped": []}, False),
    ],
)
def test_published_results_are_shown_for_tau22_only(tmp_path, changes, expected):
    study = with_data(two_strata(tmp_path / "s"), **changes)
    assert is_tau22(study) == expected
    caption = subset_section(study).blocks[-1].caption
    assert ("published results" in caption) == expected
    assert ("report is half of it" in caption) == expected


def test_data_with_other_devices_are_not_tau22(tmp_path):
    clips = drawn_clips(0.5, 0.5, template_seed=[1], focus_seed=[2], devices=("phone",))
    trials = [finished("t", 25), finished("u", 100)]
    folder = write_study(tmp_path / "s", trials, predicted={"t": clips, "u": clips})
    assert not is_tau22(with_data(folder, clips=CLIPS, classes=sorted(SCENES), skipped=[]))


def test_strata_other_than_subsets_have_no_curve(tmp_path):
    folder = two_strata(tmp_path / "s")
    study = read_study(folder)
    study.space["search"]["stratify"] = "focus.weight"
    assert subset_section(study) is None
    assert subset_section(read_study(folder)).title == "Accuracy and training data"
