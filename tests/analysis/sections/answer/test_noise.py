"""The noise that a report states is that of the study's trainings."""

import numpy as np
from results_folder import cross_fitted_study, table_rows, two_strata
from section_text import flat, section_text

from analysis.read_study import read_study
from analysis.sections.answer.noise import noise_section


def test_a_training_varies_as_the_table_says(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=(), seeds=8)
    study = read_study(folder)
    text = section_text(folder, noise_section)
    rows = table_rows(text, "Noise")
    assert rows[0] == ["stratum", "seeds", "a training", "a pair of trainings"]
    assert [row[:2] for row in rows[1:]] == [["subset 25", "8"], ["subset 100", "8"],
                                            ["all", "16"]]  # fmt: skip
    trials = study.strata[0].confirmation.trials
    variances = {"pair": [], "one": []}
    for half, own in trials.groupby("judged_on"):
        focus, template = (own[f"{s}/{half}/macro_accuracy"] for s in ("focus", "template"))
        variances["pair"].append((focus - template).var(ddof=1))
        variances["one"] += [focus.var(ddof=1), template.var(ddof=1)]
    assert rows[1][2] == f"{100 * np.sqrt(np.mean(variances['one'])):.2f}"
    assert rows[1][3] == f"{100 * np.sqrt(np.mean(variances['pair'])):.2f}"
    assert "A location adds" in flat(text)
    assert "--plan --detect 1 --noise" in text


def test_without_fresh_seeds_there_is_nothing_to_state(tmp_path):
    assert noise_section(read_study(two_strata(tmp_path / "s"))) is None
