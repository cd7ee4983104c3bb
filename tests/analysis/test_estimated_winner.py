"""Studies whose winners are estimated: which they are, and what the report says about them."""

import pytest
from estimated_study import estimated_study
from section_text import flat, section_text

from analysis.read_study import read_study
from analysis.sections.answer.verdicts import answer_section
from analysis.sections.evidence import evidence_of
from analysis.sections.search_results import search_section
from analysis.sections.sensitivity import landscape_section, parameters_section


def test_a_winner_that_was_never_trained_has_parameters_and_no_results(tmp_path):
    study = read_study(estimated_study(tmp_path / "s"))
    for stratum in study.strata:
        assert (stratum.is_estimated, stratum.is_untried, stratum.clips) == (True, True, None)
        assert 0.5 < stratum.winner["focus.weight"] < 2
        assert stratum.winner["data.subset"] == stratum.value
        assert stratum.choice.estimate == pytest.approx(0.59, abs=0.01)
        assert stratum.problem == "it was never trained in the search"
    text = flat(section_text(study.folder, answer_section))
    assert "subset 25: setting estimated best (never trained in the search): weight " in text
    assert "its confirmation says how good it is" in text
    assert "6 finished trials in its search, fewer than 8: the choice is nearly luck" in text
    assert "the best of 6 on select" not in text


def test_trainings_with_fresh_seeds_belong_to_the_winner_with_their_parameters(tmp_path):
    first = read_study(estimated_study(tmp_path / "first"))
    won = {stratum.value: dict(stratum.choice.parameters) for stratum in first.strata}
    former = {100: {**won[100], "focus.weight": 9.0}}
    study = read_study(estimated_study(tmp_path / "s", confirmed={25: won[25]} | former))
    small, large = study.strata
    assert small.choice.name == "estimated25"
    assert small.confirmation.trials["seed"].tolist() == [8, 9]
    assert large.choice.name is None
    assert large.confirmation.trials.empty, "they follow other settings"
    assert study.largest is small
    assert "trained again with 2 fresh seeds" in evidence_of(small).source
    assert search_section(study) is not None


def test_while_a_search_goes_on_the_best_trials_so_far_are_shown(tmp_path):
    study = read_study(estimated_study(tmp_path / "s", trials={25: 6, 100: 7}))
    assert [stratum.winner["trial"] for stratum in study.strata] == ["t25-2", "t100-2"]
    assert not any(stratum.is_estimated for stratum in study.strata)
    assert "gains.png" in section_text(study.folder, parameters_section)


def test_the_sensitivity_shows_the_surface_instead_of_single_points(tmp_path):
    text = flat(section_text(estimated_study(tmp_path / "s"), parameters_section))
    assert "surface.png" in text
    assert "gains.png" not in text
    assert "while the others have the winner's values" in text
    two = section_text(
        tmp_path / "s", lambda study: landscape_section(study, "focus.weight", "focus.threshold")
    )
    assert "landscape.png" in two
