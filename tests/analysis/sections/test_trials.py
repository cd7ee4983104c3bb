"""Tests of the table of trials."""

from results_folder import table_rows, two_strata
from section_text import section_text

from analysis.sections.trials import trials_section


def test_all_trials_are_listed_best_first_with_the_winner_marked(tmp_path):
    folder = two_strata(tmp_path / "small")
    rows = table_rows(section_text(folder, trials_section), "Trials")
    assert [row[-1] for row in rows[1:]] == ["b", "c", "a", "a", "b", "c"]
    assert rows[1] == [
        "25", "2", "0.3", "50.0", "70.0", "+20.0", "1.50", "25.0", "90", "finished, winner", "b",
    ]  # fmt: skip
    assert [row[-2] for row in rows[2:]] == ["finished", "finished", "finished, winner", "finished",
                                             "finished"]  # fmt: skip
