"""Confirmation: which trials count for whom, on which half, and what cannot be read."""

import numpy as np
import pandas as pd
import pytest
from results_folder import (
    CONTROLS,
    FRESH,
    confirmed_study,
    cross_fitted_study,
    look_record,
)

from analysis.inference.confirmation import current_and_former
from analysis.read_study import read_study


def accuracies_on_disk(folder, trial, stage):
    """Accuracy by half, scene and location in points, counted from the file."""
    frame = pd.read_parquet(folder / "predictions" / f"{trial}.parquet")
    frame = frame[frame["stage"] == stage]
    guess = frame.filter(like="logit/").idxmax(axis=1).str.removeprefix("logit/")
    keys = [frame[name] for name in ("half", "scene", "location")]
    return 100 * (guess == frame["scene"]).groupby(keys).mean()


def test_cells_are_those_of_the_files(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=("placebo",), seeds=4)
    for place, stratum in enumerate(read_study(folder).strata):
        confirmation = stratum.confirmation
        seeds = [8 + j * 2 + place for j in range(4)]
        assert confirmation.seeds("focusnet") == tuple(seeds)
        assert list(confirmation.judged_on(seeds)) == [0, 1, 0, 1]  # 0: report
        winners = ["a", "b", "a", "b"]
        for arm, owner, stage in (
            ("template", "focusnet", "template"),
            ("focusnet", "focusnet", "focus"),
            ("placebo", "placebo", "focus"),
        ):
            cells = confirmation.cells(arm, seeds)
            assert cells.shape == (1, 4, 24)
            for row, seed, winner in zip(cells[0], seeds, winners, strict=True):
                name = f"confirm-{owner}-{seed}-t{stratum.value}-{winner}"
                expected = accuracies_on_disk(folder, name, stage)
                np.testing.assert_allclose(row, expected.reindex(confirmation.locations.index))


def test_clips_are_of_the_half_that_a_trial_is_judged_on(tmp_path):
    stratum = read_study(cross_fitted_study(tmp_path / "s", arms=(), seeds=4)).strata[0]
    clips = stratum.confirmation.pooled()
    halves = clips["filename"].str.extract(r"audio/(\w+)-")[0]
    assert set(halves[clips["seed"] == 8]) == {"report"}
    assert set(halves[clips["seed"] == 10]) == {"select"}
    assert stratum.winner_names == {"select": "t25-a", "report": "t25-b"}


def test_an_older_study_is_judged_on_report(tmp_path):
    study = read_study(confirmed_study(tmp_path / "s"))
    confirmation = study.strata[0].confirmation
    assert list(confirmation.judged_on(FRESH)) == [0, 0, 0]
    assert set(confirmation.arms()) == {"focusnet", *CONTROLS}
    assert not study.plan.cross_fit
    assert not study.plan.are_planned


def rows(*facts):
    columns = ["arm", "seed", "winner", "judged_on"]
    return pd.DataFrame(facts, columns=columns)


def test_trials_of_former_winners_and_of_the_wrong_half_do_not_count():
    trials = rows(
        ("focusnet", 8, "a", "report"),
        ("focusnet", 9, "b", "select"),
        ("focusnet", 10, "old", "report"),
        ("focusnet", 11, "a", "select"),  # a was chosen on select once, so this one is no test
        ("placebo", 8, "a", "report"),
        ("placebo", 10, "old", "report"),
    )
    own, former = current_and_former(trials, {"select": "a", "report": "b"})
    assert list(own.index) == [0, 1, 4]
    assert list(former.index) == [2, 3, 5]


def test_a_tuned_control_belongs_to_the_winner_whose_seeds_it_has():
    trials = rows(
        ("focusnet", 8, "a", None),
        ("focusnet", 9, "old", None),
        ("distillation", 8, "own", None),
        ("distillation", 9, "own", None),
    )
    own, _ = current_and_former(trials, {"select": "a"}, tuned=["distillation"])
    assert list(own.index) == [0, 2]


def test_one_winner_may_be_both(tmp_path):
    """The same settings may win on either half: each training counts for the other half."""
    trials = rows(("focusnet", 8, "a", "report"), ("focusnet", 9, "a", "select"))
    own, _ = current_and_former(trials, {"select": "a", "report": "a"})
    assert list(own.index) == [0, 1]


def test_trials_of_a_look_that_is_not_complete_are_not_read(tmp_path):
    looks = [{25: 4, 100: 4}, {25: 8, 100: 6}]
    folder = cross_fitted_study(
        tmp_path / "s", arms=(), looks=looks, records=[look_record(1, 2, looks[0])]
    )
    study = read_study(folder)
    assert [len(one.confirmation.trials) for one in study.strata] == [8, 6]
    assert [len(one.confirmation.seeds("focusnet")) for one in study.strata] == [4, 4]
    assert study.plan.current_look == 2
    assert [one.confirmation.asked for one in study.strata] == [8, 6]


def test_unusable_predictions_are_left_out_and_named(tmp_path):
    folder = confirmed_study(tmp_path / "s", arms=("placebo",))
    paths = [folder / "predictions" / f"confirm-placebo-{s}-t25-a.parquet" for s in FRESH]
    paths[0].unlink()
    frame = pd.read_parquet(paths[1])
    frame[frame["filename"] != frame["filename"].iloc[-1]].to_parquet(paths[1])
    paths[2].write_bytes(b"cut short")
    confirmation = read_study(folder).strata[0].confirmation
    assert confirmation.seeds("placebo") == ()
    missing, other, cut = confirmation.problems
    assert missing.endswith("confirm-placebo-8-t25-a.parquet is missing")
    assert "confirm-placebo-9-t25-a.parquet" in other
    assert "confirm-placebo-10-t25-a.parquet cannot be read" in cut


@pytest.mark.parametrize("drop", [(), ("confirm-placebo-10-t100",)])
def test_trials_that_are_to_come_are_counted_by_arm(tmp_path, drop):
    study = read_study(confirmed_study(tmp_path / "s", arms=("placebo",), drop=drop))
    last = study.strata[1].confirmation
    assert (last.to_come("focusnet"), last.to_come("placebo")) == (0, len(drop))
