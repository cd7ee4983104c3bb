"""Comparisons of a study: the numbers of the statistics, the order, and when nothing is claimed."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from results_folder import (
    CONTROLS,
    confirmed_study,
    cross_fitted_study,
    look_record,
)

from analysis.inference.comparisons import accuracy_of
from analysis.read_study import read_study
from focusnet.statistics.cells import location_accuracies, locations_of
from focusnet.statistics.pooled import pooled_effect, trend

ARMS = ("label_smoothing", "distillation", "placebo")


def from_disk(folder, against, count, halves=2):
    """``pooled_effect`` of a study's files, read independently."""
    stage, owner = ("template", "focusnet") if against == "template" else ("focus", against)
    arrays, judged_on, known = [[], []], [], None
    for place, subset in enumerate((25, 100)):
        rows = [[], []]
        for j in range(count):
            seed = 8 + 2 * j + place if halves == 2 else 8 + j
            winner = f"t{subset}-{'b' if halves == 2 and j % 2 else 'a'}"
            for side, (arm, which) in enumerate((("focusnet", "focus"), (owner, stage))):
                name = f"confirm-{arm}-{seed}-{winner}.parquet"
                frame = pd.read_parquet(folder / "predictions" / name)
                known = known or locations_of(frame)
                rows[side].append(location_accuracies(frame, which, known))
        for side in (0, 1):
            arrays[side].append(np.array(rows[side])[None])
        judged_on.append(np.arange(count) % halves)
    return *arrays, known.scene, known.half, known.clips, judged_on


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """FocusNet is far better than all other arms in subset 25, and a little in subset 100."""
    return cross_fitted_study(
        tmp_path_factory.mktemp("c") / "small", focus={25: 0.8, 100: 0.6}, arms=ARMS
    )


@pytest.mark.parametrize("against", ["template", *ARMS])
def test_effects_are_those_of_the_files(folder, against):
    one = read_study(folder).claims.comparisons[against]
    *arrays, judged_on = from_disk(folder, against, 6)
    average, strata = pooled_effect(*arrays, judged_on)
    for found, expected in zip(one.average, average, strict=True):
        np.testing.assert_allclose(found, expected)
    for value, expected in zip((25, 100), strata, strict=True):
        np.testing.assert_allclose(one.by_stratum[value].estimate, expected.estimate)
    slope = trend(*arrays, np.log2([25, 100]), judged_on)
    np.testing.assert_allclose(one.trend.estimate, slope.estimate)
    assert one.seeds == {25: 6, 100: 6}


def test_a_study_of_one_half_uses_report_alone(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.5}, arms=("placebo",))
    one = read_study(folder).claims.template
    *arrays, judged_on = from_disk(folder, "template", 3, halves=1)
    average, _ = pooled_effect(*arrays, judged_on)
    np.testing.assert_allclose(one.average.estimate, average.estimate)
    np.testing.assert_allclose(one.average.location_variance, average.location_variance)
    assert one.verdict == "gain"


def test_gains_open_the_next_comparison(folder):
    claims = read_study(folder).claims
    assert claims.steps == (
        (("template",), "gain"),
        (("placebo",), "gain"),
        (("label_smoothing", "distillation"), "gain"),
    )
    assert claims.template.stratum_verdicts[25] == "gain"


def test_without_a_gain_over_the_template_nothing_else_is_claimed(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", focus={25: 0.5, 100: 0.5}, arms=ARMS, controls=0.2)
    claims = read_study(folder).claims
    assert claims.template.verdict not in ("gain", "loss")
    assert [verdict for _, verdict in claims.steps[1:]] == ["not claimed"] * 2
    assert claims.comparisons["placebo"].average.estimate[0] > 20  # shown, but not claimed


def test_other_arms_are_described_only(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.9}, arms=CONTROLS)
    claims = read_study(folder).claims
    judged = {arm for arms, _ in claims.steps for arm in arms}
    assert set(claims.comparisons) - judged == {"cross_entropy", "reference"}
    assert claims.comparisons["reference"].average is not None


def test_nothing_is_claimed_while_trials_of_focusnet_are_to_come(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.9}, drop=["confirm-focusnet-10-t100"]
    )
    claims = read_study(folder).claims
    assert {verdict for _, verdict in claims.steps} == {"not complete", "not claimed"}
    assert claims.template.average is not None
    assert not claims.template.stratum_verdicts


def test_a_control_that_is_not_complete_stops_the_order_there(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.9}, drop=["confirm-placebo-10-t100"]
    )
    assert [verdict for _, verdict in read_study(folder).claims.steps] == [
        "gain",
        "not complete",
        "not claimed",
    ]


def test_failed_trials_leave_the_other_seeds(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.9}, fresh=(8, 9, 10, 11), arms=("placebo",),
        fail=["confirm-focusnet-8-t25", "confirm-placebo-9-t25"],
    )  # fmt: skip
    claims = read_study(folder).claims
    assert claims.template.seeds == {25: 3, 100: 4}
    assert claims.comparisons["placebo"].seeds == {25: 2, 100: 4}
    assert claims.template.verdict == "gain"


def test_a_stratum_without_seeds_for_one_half_is_not_part_of_the_average(tmp_path):
    fail = [f"confirm-focusnet-{seed}-t25-b" for seed in (10, 14, 18)]
    folder = cross_fitted_study(tmp_path / "s", arms=(), fail=fail)
    one = read_study(folder).claims.template
    assert one.seeds == {100: 6}
    assert one.complete
    np.testing.assert_allclose(one.average.estimate, one.by_stratum[100].estimate)


def test_one_seed_shows_nothing(tmp_path):
    claims = read_study(confirmed_study(tmp_path / "s", fresh=(8,), arms=())).claims
    assert (claims.template.average, claims.template.verdict) == (None, "not tested")


LOOKS = [{25: 4, 100: 4}, {25: 8, 100: 8}]


def test_a_look_claims_when_the_driver_has_taken_it(tmp_path):
    made = {"focus": {25: 0.9, 100: 0.9}, "arms": (), "looks": LOOKS, "trained": 1}
    waiting = read_study(cross_fitted_study(tmp_path / "a", **made))
    assert waiting.claims.template.verdict == "not complete"
    records = [look_record(1, 2, LOOKS[0], level=0.01)]
    taken = read_study(cross_fitted_study(tmp_path / "b", records=records, **made))
    assert (taken.claims.template.verdict, taken.claims.level) == ("gain", 0.01)
    strict = [look_record(1, 2, LOOKS[0], level=1e-9)]
    none = read_study(cross_fitted_study(tmp_path / "c", records=strict, **made))
    assert none.claims.template.verdict == "undecided"


def test_controls_of_a_planned_study_follow_the_look(tmp_path):
    made = {"focus": {25: 0.9, 100: 0.9}, "looks": LOOKS, "trained": 1,
            "records": [look_record(1, 2, LOOKS[0], verdict="gain")]}  # fmt: skip
    folder = cross_fitted_study(tmp_path / "a", arms=("placebo",), **made)
    assert [verdict for _, verdict in read_study(folder).claims.steps] == ["gain", "gain"]
    trials = pd.read_parquet(folder / "trials.parquet")
    late = trials["trial"] == "confirm-placebo-8-t25-a"
    trials[~late].to_parquet(folder / "trials.parquet", index=False)
    assert [v for _, v in read_study(folder).claims.steps] == ["gain", "not complete"]


def test_a_new_winner_starts_from_nothing(tmp_path):
    """Trials of the earlier winner are on record; the claim is about the one that was judged."""
    folder = cross_fitted_study(tmp_path / "s", focus={25: 0.9, 100: 0.9}, arms=())
    trials = pd.read_parquet(folder / "trials.parquet")
    old = trials["trial"].str.startswith("confirm-focusnet-8-")
    trials.loc[old, "winner"] = "t25-old"
    trials.to_parquet(folder / "trials.parquet", index=False)
    stratum = read_study(folder).strata[0]
    assert len(stratum.confirmation.former) == 1
    assert 8 not in stratum.confirmation.seeds("focusnet")


def test_strata_without_numbers_have_no_trend(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=())
    space = yaml.safe_load((folder / "space.yaml").read_text())
    for name in ("trial", "winner"):
        assert name in pd.read_parquet(folder / "trials.parquet")
    space["space"]["data.subset"] = {"choice": ["few", "many"]}
    space["confirm"]["seeds"] = 6
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    trials = pd.read_parquet(folder / "trials.parquet")
    trials["data.subset"] = trials["data.subset"].map({25: "few", 100: "many"})
    trials.to_parquet(folder / "trials.parquet", index=False)
    one = read_study(folder).claims.template
    assert one.trend is None
    assert set(one.by_stratum) == {"few", "many"}


def test_the_accuracy_of_an_arm_is_its_effect_over_nothing(folder):
    study = read_study(folder)
    confirmation = study.strata[0].confirmation
    arms = ("template", "focusnet")
    accuracies = {arm: accuracy_of(confirmation, arm, study.plan) for arm in arms}
    difference = accuracies["focusnet"].estimate - accuracies["template"].estimate
    np.testing.assert_allclose(difference, study.claims.template.by_stratum[25].estimate)
    assert accuracies["focusnet"].estimate[0] == pytest.approx(80, abs=5)
    low, high = accuracies["focusnet"].interval()
    assert low < accuracies["focusnet"].estimate < high
    assert accuracy_of(confirmation, "reference", study.plan) is None


def test_the_margin_of_the_study_is_used(tmp_path):
    made = {"arms": (), "seeds": 8, "locations": 6, "clips": 20}
    wide = cross_fitted_study(tmp_path / "a", confirm={"margin": 30.0}, **made)
    assert read_study(wide).claims.template.verdict == "small"
    narrow = cross_fitted_study(tmp_path / "b", confirm={"margin": 0.01}, **made)
    assert read_study(narrow).claims.template.verdict == "undecided"


def test_records_are_kept_as_they_are(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=(), looks=LOOKS, trained=1,
                                records=[look_record(1, 2, LOOKS[0])])  # fmt: skip
    assert list(read_study(folder).plan.records) == json.loads((folder / "looks.json").read_text())
