"""Confirmation with fresh seeds: what is read, what is claimed, and when nothing is claimed."""

import numpy as np
import pandas as pd
import pytest
from analysis.inference.several_seeds import (
    Design,
    bootstrap_effects,
    interval,
    randomisation_p,
    variance_components,
)
from analysis.inference.verdict import holm
from analysis.sections.verdicts import answer_section, study_effects
from results_folder import CONTROLS, FRESH, confirmed_study, table_rows, two_strata

from analysis.read_study import read_study
from analysis.render.document import to_markdown
from analysis.report import main
from analysis.sections.arms import arms_section, arms_table
from analysis.sections.missing import missing_section
from analysis.sections.search_results import search_section


def text_of(folder, *sections):
    """Text of sections of the report, with single blanks."""
    study = read_study(folder)
    return " ".join(to_markdown("T", [section(study) for section in sections]).split())


def flat(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """FocusNet is far better than all other arms in subset 25, and no better in subset 100."""
    return confirmed_study(tmp_path_factory.mktemp("c") / "small", focus={25: 0.9, 100: 0.5})


@pytest.fixture(scope="module")
def text(folder):
    assert main([str(folder)]) == 0
    return (folder / "report" / "report.md").read_text()


def right_clips(folder, subset, arm, stage):
    """(seeds, locations) right clips of an arm's trials, counted from their files."""
    counts = []
    for seed in FRESH:
        path = folder / "predictions" / f"confirm-{arm}-{seed}-t{subset}-a.parquet"
        frame = pd.read_parquet(path)
        frame = frame[(frame["stage"] == stage) & (frame["half"] == "report")]
        guess = frame.filter(like="logit/").idxmax(axis=1).str.removeprefix("logit/")
        right = (guess == frame["scene"]).groupby(frame["location"])
        counts.append(right.sum())
    return np.array(counts)


def test_effects_are_those_of_the_predictions_on_disk(folder):
    """The best control is label smoothing by its accuracy on select, in both strata."""
    found = study_effects(read_study(folder))
    arms = {"template": "template", "best control": "label_smoothing", "placebo": "placebo"}
    assert list(found["control"]) == [arm for arm in arms.values() for _ in range(2)]
    assert list(found["against"]) == [name for name in arms for _ in range(2)]
    assert list(found["stratum"]) == [25, 100] * 3
    design = Design(np.repeat([0, 1, 2], 4), np.full(12, 12))
    for _, row in found.iterrows():
        stage, owner = ("focus", row["control"])
        if row["control"] == "template":
            stage, owner = "template", "focusnet"
        difference = right_clips(folder, row["stratum"], "focusnet", "focus")
        difference = difference - right_clips(folder, row["stratum"], owner, stage)
        components = variance_components(difference, design)
        assert row["seeds"] == 3
        assert row["effect"] == pytest.approx(components.effect)
        ends = interval(components, bootstrap_effects(difference, design))
        assert (row["low"], row["high"]) == pytest.approx(ends)
        assert row["p"] == pytest.approx(randomisation_p(components))
    for _, rows in found.groupby("against"):
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))


def test_the_answer_begins_with_the_verdicts(text):
    words = flat(text.split("## Answer")[1])
    assert words.startswith(
        "Does FocusNet help? In the strata tested with fresh seeds: gain over its own template in "
        "1 of 2 (subset 25); gain over best control in 1 of 2 (subset 25); gain over placebo masks "
        "in 1 of 2 (subset 25)."
    )
    assert "FocusNet helps, and it needs to know what the template confused in each clip." in words
    assert "subset 100: no evidence of a difference from its own template (" in words
    assert "No claim can be made" not in text


def test_each_stratum_has_a_table_of_three_comparisons(text):
    rows = table_rows(text, "Answer")
    assert rows[0] == [
        "FocusNet against",
        "seeds",
        "FocusNet %",
        "other %",
        "effect",
        "95 % interval",
        "p (Holm)",
        "verdict",
        "detectable",
    ]
    assert [(row[0], row[1], row[7]) for row in rows[1:]] == [
        ("its own template", "3", "gain"),
        ("best control: label smoothing", "3", "gain"),
        ("placebo masks", "3", "gain"),
    ]
    for row in rows[1:]:
        assert float(row[2]) - float(row[3]) == pytest.approx(float(row[4]), abs=0.11)


def test_the_search_has_its_own_table_of_its_own_trials_only(text):
    rows = table_rows(text, "Search")
    assert [row[:4] for row in rows[1:]] == [["25", "2/3", "1", "0.1"], ["100", "2/3", "1", "0.1"]]
    assert len(table_rows(text, "Trials")) == 1 + 4
    assert "every trial was trained once (seed 7)" in flat(text)
    assert "The answer above uses fresh seeds instead." in flat(text)


def test_arms_have_their_mean_and_spread_over_seeds(folder, text):
    trials = pd.read_parquet(folder / "trials.parquet")
    own = trials[(trials["data.subset"] == 25) & (trials["phase"] == "confirm")]
    table = arms_table(read_study(folder))
    of_25 = table[table["stratum"] == "subset 25"].set_index("arm")
    assert list(of_25.index) == ["template", "focusnet", *CONTROLS]
    accuracies = own.loc[own["arm"] == "distillation", "focus/report/macro_accuracy"]
    row = of_25.loc["distillation"]
    assert row["mean"] == pytest.approx(accuracies.mean())
    assert row["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    control = trials[trials["trial"] == "controls-distillation-7-t25-a"]
    assert row["searched"] == pytest.approx(control["focus/report/macro_accuracy"].item())
    templates = own.loc[own["arm"] == "focusnet", "template/report/macro_accuracy"]
    assert of_25.loc["template", "mean"] == pytest.approx(templates.mean())
    assert of_25.loc["focusnet", "mean"] - templates.mean() == pytest.approx(
        of_25.loc["focusnet", "gain"]
    )
    assert of_25.index[of_25["best"]].tolist() == ["label_smoothing"]
    assert any(row[1] == "label smoothing (best control)" for row in table_rows(text, "Arms"))


def test_explanations_pool_the_fresh_seeds(text):
    assert "The winner of subset 100, trained again with 3 fresh seeds (pooled), on report" in text
    rows = table_rows(text, "Classes")
    assert rows[0] == ["scene", "clips", "template %", "FocusNet %", "change", "sd over seeds"]
    assert [row[:2] for row in rows[1:]] == [["bus", "48"], ["park", "48"], ["tram", "48"]]


def test_nothing_is_claimed_while_trials_are_to_come(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.9}, drop=["confirm-placebo-10-t100"]
    )
    study = read_study(folder)
    assert [stratum.confirmation.to_come for stratum in study.strata] == [0, 1]
    effects = study_effects(study)
    assert list(effects["verdict"]) == ["gain", "not tested"] * 3
    # The stratum to come counts in Holm's correction as a test that found nothing.
    assert list(effects["p_holm"][::2]) == pytest.approx(list(2 * effects["p"][::2]))
    words = text_of(folder, answer_section, missing_section)
    assert "subset 100: not tested yet: 1 of 18 confirmation trials are not done." in words
    assert "subset 100: of 18 confirmation trials: 1 not started." in words
    assert "gain over its own template in 1 of 1 (subset 25)" in words


def test_while_no_confirmation_is_complete_the_answer_is_that_of_the_search(tmp_path):
    folder = confirmed_study(tmp_path / "s", drop=["confirm-placebo-10"])
    text = text_of(folder, answer_section)
    assert (
        "No claim can be made yet: 2 of 36 confirmation trials with fresh seeds are not done yet, "
        "and no stratum has all of its trials." in text
    )
    assert "the best of 2 on select (weight 1, threshold 0.1) has" in text
    study = read_study(folder)
    assert search_section(study) is None
    assert len(arms_section(study).blocks[1].rows) == 2 * 7


@pytest.mark.parametrize(
    ("arms", "fresh", "why"),
    [
        (CONTROLS, (), "the confirmation with fresh seeds is off (confirm.seeds)"),
        (CONTROLS, FRESH, "the 36 confirmation trials with fresh seeds start in each stratum"),
    ],
)
def test_a_study_without_confirmation_says_why(tmp_path, arms, fresh, why):
    folder = confirmed_study(tmp_path / "s", arms=arms, fresh=fresh, drop=["confirm"])
    assert f"No claim can be made yet: {why}" in text_of(folder, answer_section)


def test_an_older_study_says_that_it_has_no_confirmation(tmp_path):
    folder = two_strata(tmp_path / "s")
    assert "No claim can be made yet: this study has no confirmation" in text_of(
        folder, answer_section
    )
    assert arms_section(read_study(folder)) is None


def test_failed_trials_leave_the_other_seeds(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.5},
        fail=["confirm-focusnet-8-t25", "confirm-focusnet-8-t100", "confirm-focusnet-9-t100"],
    )  # fmt: skip
    effects = study_effects(read_study(folder))
    assert list(effects["seeds"]) == [2, 1] * 3
    assert list(effects["verdict"][1::2]) == ["not tested"] * 3
    words = text_of(folder, answer_section)
    assert "subset 100: 2 confirmation trials failed (focusnet)" in words
    assert "subset 100: not tested. Fewer than 2 seeds are left, too few for a test." in words


def test_two_seeds_that_can_detect_nothing_are_reported_as_such(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.6, 100: 0.5}, arms=(), fresh=(8, 9), locations=2, clips=2
    )
    effects = study_effects(read_study(folder))
    assert effects["detectable"].max() > 1
    words = text_of(folder, answer_section)
    assert "with so few seeds, any effect would often have been missed." in words
    assert "| \\> 100 |" in words


def test_trials_of_a_former_winner_are_not_used(tmp_path):
    folder = confirmed_study(tmp_path / "s")
    trials = pd.read_parquet(folder / "trials.parquet")
    trials.loc[trials["trial"].str.startswith("confirm-focusnet-8-t25"), "winner"] = None
    trials.to_parquet(folder / "trials.parquet", index=False)
    study = read_study(folder)
    assert study.strata[0].confirmation.seeds("focusnet") == (9, 10)
    words = text_of(folder, missing_section)
    assert "subset 25: of 18 confirmation trials: 1 not started." in words
    assert "1 confirmation trial of an earlier winner not used." in words


def test_unusable_predictions_are_reported_and_left_out(tmp_path):
    folder = confirmed_study(tmp_path / "s")
    paths = [folder / "predictions" / f"confirm-placebo-{s}-t25-a.parquet" for s in FRESH]
    paths[0].unlink()
    frame = pd.read_parquet(paths[1])
    frame[frame["filename"] != frame["filename"].iloc[-1]].to_parquet(paths[1])
    words = text_of(folder, missing_section)
    assert "not used, because predictions/confirm-placebo-8-t25-a.parquet is missing." in words
    assert "confirm-placebo-9-t25-a.parquet has other clips than those before it." in words
    effects = study_effects(read_study(folder))
    placebo = effects[(effects["against"] == "placebo") & (effects["stratum"] == 25)]
    assert (placebo["seeds"].item(), placebo["verdict"].item()) == (1, "not tested")


def test_without_controls_only_the_template_is_compared_with(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.9}, arms=())
    words = text_of(folder, answer_section)
    assert "not tested against best control; not tested against placebo masks." in words
    assert "Without controls, training a second time may be all that helps." in words


def test_the_interval_of_an_accuracy_contains_it_and_narrows_with_seeds(tmp_path):
    many = confirmed_study(tmp_path / "s", fresh=tuple(range(10, 22)), arms=())
    few = confirmed_study(tmp_path / "t", fresh=(10, 11, 12), arms=())
    widths = []
    for folder in (many, few):
        accuracy, low, high = (
            read_study(folder).strata[0].confirmation.accuracy_interval("focusnet")
        )
        assert low < accuracy < high
        widths.append(high - low)
    assert widths[0] < widths[1]
