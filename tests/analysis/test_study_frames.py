"""The data frames of a study: their values by hand, and equal to the report's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from paths import ROOT
from results_folder import (
    REPORT,
    confirmed_study,
    cross_fitted_study,
    two_strata,
    unfinished,
    write_study,
)

from analysis import open_study
from analysis.study_frames import NoSuchTrial


@pytest.fixture
def study(tmp_path):
    return open_study(two_strata(tmp_path / "small"))


def test_predictions_have_a_row_for_each_clip_and_stage(study):
    clips = study.predictions("t25-b")
    report = clips[(clips["half"] == "report") & (clips["stage"] == "focus")].reset_index(drop=True)
    assert len(clips) == 4 * len(REPORT)
    assert report["scene"].tolist() == [line[0] for line in REPORT]
    assert report["predicted"].tolist() == [line[4] for line in REPORT]
    assert report["correct"].tolist() == [line[0] == line[4] for line in REPORT]
    assert report["city"].unique().tolist() == ["lyon"]
    assert report["group"].tolist() == [{"s1": "seen"}.get(line[2], "real") for line in REPORT]
    # Logits 1, 0, 0: e / (e + 2) for the predicted scene.
    shares = report.filter(like="probability/").to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares.max(axis=1) == pytest.approx(np.e / (np.e + 2))


def test_a_row_of_the_trials_is_as_good_as_a_name(study):
    row = study.trials[study.trials["trial"] == "t25-b"].iloc[0]
    pd.testing.assert_frame_equal(study.predictions(row), study.predictions("t25-b"))


def test_a_trial_that_is_not_there_is_an_error_that_names_near_ones(study, tmp_path):
    with pytest.raises(NoSuchTrial, match=r"t25-bb: the study has no such trial; did you mean t25"):
        study.predictions("t25-bb")
    begun = open_study(write_study(tmp_path / "begun", [unfinished("x", 25, "running")]))
    with pytest.raises(NoSuchTrial, match="x: has no predictions, because it is running"):
        begun.predictions("x")


def test_confusions_count_the_clips_of_report(study):
    found = study.confusions("t25-b", stage="template").set_index(["scene", "predicted"])
    # Template: bus 2 of 4 right and 2 as tram, park 1 of 4 as bus, tram 1 of 2 as bus.
    assert found.loc[("bus", "tram"), "clips"] == 2
    assert found.loc[("bus", "tram"), "share"] == 0.5
    assert found.loc[("park", "bus"), "share"] == 0.25
    assert found.loc[("tram", "bus"), "share"] == 0.5
    assert found["clips"].sum() == len(REPORT)
    assert found.groupby("scene")["share"].sum().tolist() == [1, 1, 1]


def test_without_fresh_seeds_there_are_no_effects_and_the_search_stands_in(study):
    assert study.effects().empty
    assert study.confirmed().empty
    winners = study.winner_predictions()
    assert set(winners["stratum"]) == {25, 100}
    assert set(winners["half"]) == {"report"}


def test_effects_are_those_of_the_report(tmp_path):
    study = open_study(confirmed_study(tmp_path / "small", focus={25: 0.9, 100: 0.5}))
    effects = study.effects().set_index(["against", "stratum"])
    for arm, one in study.claims.comparisons.items():
        found = effects.loc[(arm, "average")]
        low, high = one.average.interval()
        assert found["effect"] == pytest.approx(float(one.average.estimate[0]))
        assert (found["low"], found["high"]) == pytest.approx((float(low[0]), float(high[0])))
        assert found["verdict"] == one.verdict
        assert found["seeds"] == sum(one.seeds.values())
    assert effects.loc[("template", 25), "effect"] > 20
    assert effects.loc[("template", 25), "verdict"] == "gain"


def test_fresh_seeds_are_judged_on_the_half_that_did_not_choose(tmp_path):
    study = open_study(cross_fitted_study(tmp_path / "small"))
    clips = study.confirmed()
    halves = clips.groupby(["stratum", "seed"])["half"].agg(lambda half: set(half))
    assert all(len(one) == 1 for one in halves)
    assert set().union(*halves) == {"select", "report"}
    one = study.trials[(study.trials["phase"] == "confirm") & (study.trials["arm"] == "focusnet")]
    for _, trial in one.iterrows():
        assert halves[trial["data.subset"], trial["seed"]] == {trial["judged_on"]}


def test_recordings_are_where_the_study_found_them(study, monkeypatch, tmp_path):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path))
    made = tmp_path / "synthetic" / "v1-train26-test12-clips4-seed0"
    assert study.audio("audio/a.wav") == made / "audio" / "a.wav"
    study.space["trial"]["data"]["root"] = "/data/TAU22"
    again = open_study(study.folder)
    again.space["trial"]["data"]["root"] = "/data/TAU22"
    assert again.audio("audio/a.wav") == Path("/data/TAU22/audio/a.wav")


def test_the_documented_example_runs(tmp_path):
    text = (ROOT / "docs" / "results.md").read_text()
    example = text.partition("from analysis import open_study")[2].partition("```")[0]
    folder = confirmed_study(tmp_path / "small")
    program = "from analysis import open_study" + example.replace("results/demo", str(folder))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "template" in done.stdout


def test_opening_a_study_imports_no_figures_and_no_torch():
    program = (
        "import sys, analysis; assert 'pandas' not in sys.modules\n"
        "import analysis.study_frames\n"
        "print(sorted({'torch', 'matplotlib', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"
