"""The table and the figures of all arms."""

import numpy as np
import pandas as pd
import pytest
from results_folder import CONTROLS, confirmed_study, cross_fitted_study, table_rows, two_strata
from section_text import section_text

from analysis.inference.best_of import expected_best
from analysis.read_study import read_study
from analysis.sections.arms import arms_section, arms_table, best_of_curves


def test_arms_have_their_mean_and_spread_over_seeds(tmp_path):
    folder = confirmed_study(tmp_path / "s", focus={25: 0.9, 100: 0.5})
    trials = pd.read_parquet(folder / "trials.parquet")
    own = trials[(trials["data.subset"] == 25) & (trials["phase"] == "confirm")]
    table = arms_table(read_study(folder))
    of_25 = table[table["stratum"] == "subset 25"].set_index("arm")
    assert list(of_25.index) == ["template", "focusnet", *CONTROLS]
    accuracies = own.loc[own["arm"] == "distillation", "focus/report/macro_accuracy"]
    row = of_25.loc["distillation"]
    assert row["mean"] == pytest.approx(accuracies.mean())
    assert row["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    focus = own.loc[own["arm"] == "focusnet", "focus/report/macro_accuracy"]
    assert row["effect"] == pytest.approx(focus.mean() - accuracies.mean())
    assert row["low"] < row["effect"] < row["high"]
    control = trials[trials["trial"] == "controls-distillation-7-t25-a"]
    assert row["searched"] == pytest.approx(control["focus/report/macro_accuracy"].item())
    rows = table_rows(section_text(folder, arms_section), "Arms")
    assert any(row[1] == "the template drawn again" for row in rows)


def test_the_mean_is_over_halves_and_the_spread_within_them(tmp_path):
    folder = cross_fitted_study(tmp_path / "s", arms=())
    study = read_study(folder)
    own = study.strata[0].confirmation.trials
    halves = {half: rows[f"focus/{half}/macro_accuracy"] for half, rows in own.groupby("judged_on")}
    row = arms_table(study).set_index(["stratum", "arm"]).loc[("subset 25", "focusnet")]
    assert row["mean"] == pytest.approx(np.mean([values.mean() for values in halves.values()]))
    pooled = np.mean([values.var(ddof=1) for values in halves.values()])
    assert row["sd"] == pytest.approx(np.sqrt(pooled))
    template = arms_table(study).set_index(["stratum", "arm"]).loc[("subset 25", "template")]
    assert row["mean"] - template["mean"] == pytest.approx(template["effect"])


def test_the_best_of_n_is_chosen_on_select_and_scored_on_report(tmp_path):
    curves = best_of_curves(read_study(two_strata(tmp_path / "s")))
    chosen, scored = [0.55, 0.7, 0.6], [0.45, 0.45, 0.99]
    np.testing.assert_allclose(curves["subset 25"]["FocusNet"], expected_best(chosen, scored))
    assert curves["subset 25"]["FocusNet"][-1] == pytest.approx(0.45)  # the best of all three


def test_a_study_without_other_arms_and_confirmation_has_no_section(tmp_path):
    assert arms_section(read_study(two_strata(tmp_path / "s"))) is None
