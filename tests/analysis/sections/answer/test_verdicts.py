"""The answer of the report: its first sentence, its tables, its reservations."""

import json

import pandas as pd
import pytest
from results_folder import (
    CONTROLS,
    FRESH,
    confirmed_study,
    cross_fitted_study,
    look_record,
    table_rows,
    two_strata,
)
from section_text import flat, section_text

from analysis.read_study import read_study
from analysis.report import main
from analysis.sections.answer.verdicts import answer_section, settings_of
from analysis.sections.missing import missing_section
from analysis.sections.search_results import search_section

ARMS = ("label_smoothing", "distillation", "placebo")
LOOKS = [{25: 4, 100: 4}, {25: 8, 100: 6}]


def answer_of(folder):
    return section_text(folder, answer_section)


def first_sentence(folder):
    return flat(answer_of(folder).split("## Answer")[1].split("\n\n")[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cross_fitted_study(
        tmp_path_factory.mktemp("a") / "small", focus={25: 0.8, 100: 0.7}, arms=ARMS
    )


def ends(effect, **how):
    low, high = (float(end[0]) for end in effect.interval(**how))
    return f"{low:+.1f} to {high:+.1f}"


def test_the_first_sentence_is_the_answer(folder):
    one = read_study(folder).claims.template.average
    assert first_sentence(folder) == (
        "Averaged over two subsets, FocusNet with searched settings gains "
        f"{one.estimate[0]:+.1f} points over its template (95 %: {ends(one)} at new locations; "
        f"{ends(one, locations=False)} on these): a gain."
    )


def test_the_report_begins_with_it_and_draws_one_figure(folder):
    assert main([str(folder)]) == 0
    text = (folder / "report" / "report.md").read_text()
    assert flat(text.split("## Answer")[1]).startswith("Averaged over two subsets, FocusNet")
    assert "](effects.png)" in text
    assert (folder / "report" / "best_of.png").is_file()
    assert "no evidence" not in text.lower()


def test_the_arms_are_compared_in_order(folder):
    text = answer_of(folder)
    rows = table_rows(text, "Answer")
    assert rows[0] == ["FocusNet against", "settings", "seeds", "effect", "95 % new locations",
                       "95 % these locations", "p", "verdict"]  # fmt: skip
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("its template", "not tuned", "6", "gain"),
        ("FocusNet with placebo masks", "with FocusNet's settings", "6", "gain"),
        ("label smoothing", "with FocusNet's settings", "6", "gain"),
        ("self-distillation", "with FocusNet's settings", "6", "gain"),
    ]
    words = flat(text)
    assert "Over label smoothing and self-distillation: +" in words
    assert "FocusNet helps, what the template confused in each clip matters, and it beats" in words
    assert "Strata and arms are two families of tests" in words


def test_strata_come_second_with_a_trend(folder):
    words = flat(answer_of(folder))
    assert "By subset (5 % over all, since the average claims something): subset 25 +" in words
    assert "Trend: as subset doubles, the effect changes by" in words
    effects = read_study(folder).claims.template.by_stratum
    assert f"subset 25 {effects[25].estimate[0]:+.1f}, a gain" in words


def test_a_loss(tmp_path):
    sentence = first_sentence(cross_fitted_study(tmp_path / "s", focus={25: 0.2, 100: 0.2}))
    assert "FocusNet with searched settings loses " in sentence
    assert sentence.endswith(": a loss.")
    assert "FocusNet is worse than the template" in flat(answer_of(tmp_path / "s"))


def test_a_small_effect_is_said_to_be_small(tmp_path):
    made = {"arms": (), "seeds": 8, "locations": 6, "clips": 20, "confirm": {"margin": 20.0}}
    sentence = first_sentence(cross_fitted_study(tmp_path / "s", **made))
    assert "smaller than 20 points either way (90 %: " in sentence


def test_no_gain_of_the_margin(tmp_path):
    # 0.45 against 0.5: a difference of -5 that is not claimed, and no gain of 3 points or more.
    made = {"arms": (), "seeds": 6, "clips": 10, "confirm": {"margin": 3.0}}
    folder = cross_fitted_study(tmp_path / "s", focus={25: 0.47, 100: 0.44}, **made)
    assert read_study(folder).claims.template.verdict == "no gain"
    assert ": no gain of 3 points or more (90 %: " in first_sentence(folder)


def test_undecided_says_what_the_next_look_costs(tmp_path):
    folder = cross_fitted_study(
        tmp_path / "s", arms=(), looks=LOOKS, trained=1, records=[look_record(1, 2, LOOKS[0])]
    )
    sentence = first_sentence(folder)
    assert ": undecided, -" in sentence
    # Four more seeds and two more, of FocusNet and its template; 90 s a trial.
    assert sentence.endswith("the next look costs 12 trainings (about 0.15 hours of trials).")


def test_undecided_without_another_look_says_what_more_seeds_would_give(tmp_path):
    sentence = first_sentence(cross_fitted_study(tmp_path / "s", arms=()))
    assert "no further look is planned; with twice as many seeds the interval would" in sentence


def test_a_single_search_has_no_strata(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", focus={25: 0.8}, arms=())
    space = folder / "space.yaml"
    space.write_text(space.read_text().replace("stratify: data.subset", "stratify: null"))
    assert first_sentence(folder).startswith("FocusNet with searched settings gains")
    assert "Trend" not in answer_of(folder)


def test_an_adaptive_or_older_study_says_that_half_of_the_locations_are_used(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.5})
    words = flat(answer_of(folder))
    assert "is of an older kind, with one winner chosen on select, so only half" in words
    space = folder / "space.yaml"
    space.write_text(space.read_text().replace("algorithm: random", "algorithm: tpe"))
    words = flat(answer_of(folder))
    assert "is adaptive (each trial depends on the results before it), so only half" in words


def test_nothing_is_claimed_while_trials_are_to_come(tmp_path):
    folder = confirmed_study(
        tmp_path / "s", focus={25: 0.9, 100: 0.9}, drop=["confirm-focusnet-10-t100"]
    )
    words = flat(section_text(folder, answer_section, missing_section))
    assert (
        "No claim can be made yet: 1 of 6 trials of FocusNet for the confirmation are not done yet."
        in words
    )
    assert "So far FocusNet differs from its template by +" in words
    assert "subset 100: of 18 confirmation trials: 1 not started." in words
    assert "searched settings" not in words


def test_a_look_that_is_not_taken_claims_nothing(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=(), looks=LOOKS, trained=1)
    words = flat(answer_of(folder))
    assert "the 8 trials of FocusNet for look 1 of 2 are done, but it is not taken yet." in words


@pytest.mark.parametrize(
    ("fresh", "why"),
    [
        ((), "the confirmation with fresh seeds is off (confirm.seeds)"),
        (FRESH, "the 6 trials of FocusNet for the confirmation start when the searches have ended"),
    ],
)
def test_a_study_without_confirmation_says_why(tmp_path, fresh, why):
    folder = confirmed_study(tmp_path / "s", fresh=fresh, drop=["confirm"])
    words = flat(answer_of(folder))
    assert f"No claim can be made yet: {why}" in words
    assert "the best of 2 on select (weight 1, threshold 0.1) has" in words
    assert search_section(read_study(folder)) is None


def test_an_older_study_says_that_it_has_no_confirmation(tmp_path):
    words = flat(answer_of(two_strata(tmp_path / "s")))
    assert "No claim can be made yet: this study has no confirmation" in words


def test_failed_trials_are_named_and_strata_without_seeds_are_left_out(tmp_path):
    fail = [f"confirm-focusnet-{seed}-t25-b" for seed in (10, 14, 18)]
    folder = cross_fitted_study(tmp_path / "s", focus={25: 0.9, 100: 0.9}, arms=(), fail=fail)
    assert first_sentence(folder).startswith("Averaged over one of two subsets, ")
    words = flat(answer_of(folder))
    assert "subset 25: 3 confirmation trials failed (focusnet)" in words
    assert "Too few seeds to be judged, and not part of the average: subset 25." in words


def test_trials_of_an_earlier_winner_are_on_record(tmp_path):
    folder = confirmed_study(tmp_path / "s", arms=())
    trials = pd.read_parquet(folder / "trials.parquet")
    trials.loc[trials["trial"].str.startswith("confirm-focusnet-8-t25"), "winner"] = "t25-old"
    trials.to_parquet(folder / "trials.parquet", index=False)
    words = flat(section_text(folder, answer_section, missing_section))
    assert "1 confirmation trial of an earlier winner not used." in words
    assert "subset 25: of 3 confirmation trials: 1 not started." in words


@pytest.mark.parametrize(
    ("arms", "focus", "controls", "sentence"),
    [
        ((), 0.9, 0.5, "Without controls it is not shown what in FocusNet's loss helps."),
        (("placebo",), 0.8, 0.8, "it is not shown that what the template confused in each clip"),
        (ARMS[::2], 0.9, 0.5, "FocusNet helps, what the template confused in each clip matters"),
        (ARMS[:2], 0.9, 0.5, "helps more than simpler losses; placebo masks were not tried."),
        (ARMS[:1], 0.8, 0.8, "FocusNet helps; it is not shown that FocusNet beats every simpler"),
    ],
)
def test_what_the_verdicts_mean_together(tmp_path, arms, focus, controls, sentence):
    folder = cross_fitted_study(
        tmp_path / "s", focus={25: focus, 100: focus}, arms=arms, controls=controls
    )
    assert sentence in flat(answer_of(folder))


def test_other_arms_are_described(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.9}, arms=CONTROLS)
    rows = {row[0]: row for row in table_rows(answer_of(folder), "Answer")[1:]}
    assert rows["the template drawn again"][-1] == "described"
    reference = rows["FocusNet with the paper's settings"]
    assert (reference[1], reference[-1]) == ("the paper's settings", "described")


def test_tuned_arms_say_with_how_many_trials(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=("distillation",))
    space = folder / "space.yaml"
    search = "controls:\n  search: {distillation: {focus.distillation.weight: {uniform: [0, 1]}}}\n"
    space.write_text(space.read_text().replace("controls:\n", search))
    trials = pd.read_parquet(folder / "trials.parquet")
    own = trials[trials["trial"].isin(["t25-a", "t25-b", "t100-a"])]
    own = own.assign(arm="distillation", trial="d-" + own["trial"], phase="controls", tuning=True)
    pd.concat([trials, own]).to_parquet(folder / "trials.parquet", index=False)
    study = read_study(folder)
    assert settings_of(study, "focusnet") == "tuned with 2 trials"
    assert settings_of(study, "distillation") == "tuned with 1 to 2 trials"
    assert settings_of(study, "placebo") == "with FocusNet's settings"
    # The control's trials name their own search's winner, and belong by their seeds.
    assert study.claims.comparisons["distillation"].seeds == {25: 6, 100: 6}


def test_every_look_is_listed(tmp_path):
    records = [look_record(1, 2, LOOKS[0], level=0.0056, estimate=0.31, p=0.42,
                           follows="look 2: 12 trainings")]  # fmt: skip
    folder = cross_fitted_study(tmp_path / "s", arms=(), looks=LOOKS, trained=1, records=records)
    table = answer_of(folder).split("Looks: ")[1]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")]
            for line in table.splitlines() if line.startswith("|")]  # fmt: skip
    assert rows[0] == ["look", "taken", "seeds", "effect", "95 % new locations", "p",
                       "claims at p", "verdict", "what followed"]  # fmt: skip
    assert rows[2] == ["1", "2026-01-02 03:04", "4, 4", "+0.3", "-1.0 to +1.6", "0.420", "0.0056",
                       "undecided", "look 2: 12 trainings"]  # fmt: skip
    assert (rows[3][0], rows[3][2], rows[3][-2]) == ("2", "8, 6", "planned")
    records.append(look_record(2, 2, LOOKS[1], verdict="gain"))
    records.append(look_record(2, 2, LOOKS[1], verdict="undecided"))
    (folder / "looks.json").write_text(json.dumps(records))
    assert "3 looks were taken where 2 were planned" in answer_of(folder)
