"""Tests of what the searches found, in the answer of studies without fresh seeds."""

import copy

import pytest
from results_folder import SPACE, finished, predictions, table_rows, two_strata, write_study
from section_text import flat, section_text

from analysis.sections.answer.verdicts import answer_section
from analysis.sections.trials import trials_section


def answer_of(folder):
    return section_text(folder, answer_section)


@pytest.fixture
def study(tmp_path):
    return two_strata(tmp_path / "small")


def test_the_answer_has_one_row_per_stratum_with_the_best_trial_on_select(study):
    rows = table_rows(answer_of(study), "Answer")
    assert rows[0] == [
        "subset",
        "trials",
        "weight",
        "threshold",
        "template %",
        "FocusNet %",
        "gain",
        "95 % interval",
        "warm classes",
        "only label warm %",
    ]
    without_interval = [[*row[:7], *row[8:]] for row in rows[1:]]
    assert without_interval == [
        ["25", "3/3", "2", "0.3", "58.3", "83.3", "+25.0", "1.50", "25.0"],
        ["100", "3/3", "4", "0.1", "58.3", "83.3", "+25.0", "1.50", "25.0"],
    ]
    # Each scene has two locations, of which one is drawn: the gain of a scene is that of either
    # location: bus 1/2 or 0, park 1 or -1/3, tram 1 or 0. The extremes have 1 draw of 8 each.
    assert [row[7] for row in rows[1:]] == ["-11.1 to +83.3"] * 2


def test_a_search_alone_is_no_claim(study):
    text = flat(answer_of(study))
    assert "subset 25: the best of 3 on select (weight 2, threshold 0.3) has 83.3 %" in text
    assert text.count("The interval includes 0.") == 2
    assert "it is not a claim about FocusNet. Each winner was picked as the best of 3 on" in text
    assert "every trial was trained once (seed 7)" in text
    assert "covers the choice of the 6 test locations only" in text
    assert "fresh seeds, and controls with the same budget" in text
    assert "label smoothing and self-distillation. Chance is 33.3 %." in text


@pytest.mark.parametrize(("before", "after", "word"), [("tram", "bus", "higher"),
                                                       ("bus", "tram", "lower")])  # fmt: skip
def test_an_interval_without_zero_holds_for_this_pair_of_trainings_only(
    tmp_path, before, after, word
):
    clips = [("bus", f"place-{i}", "a", before, after) for i in range(4)]
    folder = write_study(tmp_path / "s", [finished("t", 25)], predicted={"t": predictions(clips)})
    text = flat(answer_of(folder))
    assert (
        f"FocusNet is {word} than its template on these locations, for this one pair of trainings."
        in text
    )
    assert "interval includes 0" not in text


def test_masks_with_the_label_alone_or_all_classes_are_noted(tmp_path):
    trials = [
        finished("a", 25, **{"focus/warm_classes": 1.0499}),
        finished("b", 100, **{"focus/warm_classes": 2.96}),
    ]
    folder = write_study(tmp_path / "s", trials, predicted={"a": predictions(), "b": predictions()})
    text = flat(answer_of(folder))
    assert "subset 25: the winner's masks hold 1.05 classes on average" in text
    assert "there FocusNet cannot differ from label smoothing" in text
    assert "subset 100: the winner's masks hold all 3 classes" in text


def test_other_masks_are_not_noted(study):
    assert "the winner's masks" not in answer_of(study)


def test_a_winner_at_the_edge_of_its_range_is_noted(tmp_path):
    trials = [finished("a", 25, weight=9.9, threshold=0.3)]
    text = flat(answer_of(write_study(tmp_path / "s", trials)))
    assert (
        "the winner's focus.weight = 9.9 is at the upper edge of its range (loguniform 0.1 to 10)"
        in text
    )
    assert "focus.threshold = 0.3 is at" not in text


def test_a_grid_plans_as_many_trials_as_it_has_points(tmp_path):
    space = copy.deepcopy(SPACE)
    space["search"]["trials"] = None
    space["space"]["focus.weight"] = {"choice": [0.5, 1.0, 2.0]}
    space["space"]["focus.threshold"] = {"choice": [0.1, 0.2]}
    text = answer_of(write_study(tmp_path / "s", [finished("a", 25)], space=space))
    assert [row[1] for row in table_rows(text, "Answer")[1:]] == ["1/6", "0/6"]


def test_controls_do_not_count_as_trials_of_the_search(tmp_path):
    control = finished("c", 25, select=0.99) | {"arm": "label_smoothing"}
    folder = write_study(tmp_path / "s", [finished("a", 25), control])
    text = section_text(folder, answer_section, trials_section)
    assert table_rows(text, "Answer")[1][1] == "1/3"
    assert [row[-1] for row in table_rows(text, "Trials")[1:]] == ["a"]
