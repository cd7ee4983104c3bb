"""Tests of the simulation of studies like a given one."""

import numpy as np
import pandas as pd
import pytest
from results_folder import confirmed_study, two_strata, write_study

from analysis.read_study import read_study
from analysis.sections.error_rates import DEFAULT_SEED_SD, error_rates_section, own_plan


def test_the_plan_is_as_large_and_as_noisy_as_the_study(tmp_path):
    folder = confirmed_study(tmp_path / "s", fresh=(8, 9, 10, 11))
    plan = own_plan(read_study(folder))
    assert (plan.seeds, plan.scenes, plan.locations, plan.clips) == (4, 3, 4, 12)
    trials = pd.read_parquet(folder / "trials.parquet")
    own = trials[(trials["phase"] == "confirm") & (trials["arm"] == "focusnet")]
    by_subset = own.groupby("data.subset")["template/report/macro_accuracy"]
    assert plan.accuracies == pytest.approx(tuple(by_subset.mean()))
    assert plan.seed_sd == pytest.approx(np.sqrt(by_subset.var(ddof=1).mean()))


def test_without_fresh_seeds_the_default_noise_is_used(tmp_path):
    plan = own_plan(read_study(two_strata(tmp_path / "s")))
    assert (plan.seeds, plan.seed_sd) == (5, DEFAULT_SEED_SD)
    assert plan.accuracies == (0.4, 0.4)


def test_claims_are_frequent_with_an_effect_and_rare_without(tmp_path):
    section = error_rates_section(read_study(confirmed_study(tmp_path / "s")), studies=60)
    rows = section.blocks[1].rows
    assert [row[0] for row in rows] == ["0.0", "2.0", "4.0", "8.0"]
    assert float(rows[0][3]) <= 15  # at 5 %, more than 9 of 60 have a claim once in 1,000
    assert float(rows[3][1]) > float(rows[0][1])


def test_a_study_without_predictions_has_nothing_to_simulate(tmp_path):
    folder = write_study(tmp_path / "s", None)
    assert own_plan(read_study(folder)) is None
    assert len(error_rates_section(read_study(folder)).blocks) == 1
