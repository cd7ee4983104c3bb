"""Tests of the simulation of studies like a given one."""

import numpy as np
import pytest
from results_folder import confirmed_study, cross_fitted_study, two_strata, write_study

from analysis.inference.simulation import observed_sd
from analysis.read_study import read_study
from analysis.sections.error_rates import DEFAULT_SEED_SD, error_rates_section, own_world


def test_the_world_is_as_large_as_the_study(tmp_path):
    study = read_study(cross_fitted_study(tmp_path / "s", arms=(), seeds={25: 6, 100: 4}))
    world = own_world(study)
    assert world.seeds == (6, 4)
    assert (world.scenes, world.clips, world.clips_sd) == (3, 12, 0.0)
    assert world.locations == ((4, 4, 4), (4, 4, 4))
    assert world.accuracies == pytest.approx((50, 50), abs=5)
    assert not world.one_half
    older = own_world(read_study(confirmed_study(tmp_path / "t", fresh=(8, 9, 10, 11))))
    assert (older.seeds, older.one_half) == ((4, 4), True)


def test_noise_is_not_counted_twice(tmp_path):
    """What the simulated studies observe is what the study has observed."""
    study = read_study(cross_fitted_study(tmp_path / "s", arms=(), seeds=12, clips=3))
    world = own_world(study)
    found = observed_sd(world, np.random.default_rng(3), studies=400)
    stated = study.claims.template.noise.pooled_training_sd
    assert found == pytest.approx(stated, rel=0.08) or (world.seed_sd == 0 and found > stated)


def test_noise_of_trainings_beyond_luck_is_kept(tmp_path):
    study = read_study(cross_fitted_study(tmp_path / "s", arms=(), seeds=6))
    noise = study.claims.template.noise
    object.__setattr__(noise, "pooled_training_sd", 6.0)
    world = own_world(study)
    assert observed_sd(world, np.random.default_rng(3), studies=400) == pytest.approx(6.0, rel=0.06)


def test_without_fresh_seeds_the_default_noise_is_used(tmp_path):
    world = own_world(read_study(two_strata(tmp_path / "s")))
    assert world.seed_sd == DEFAULT_SEED_SD
    assert world.accuracies == (40, 40)
    assert world.locations == ((2, 2, 2), (2, 2, 2))


def test_claims_are_frequent_with_an_effect_and_rare_without(tmp_path):
    study = read_study(cross_fitted_study(tmp_path / "s", arms=()))
    rows = error_rates_section(study, studies=60).blocks[1].rows
    assert [row[0] for row in rows] == ["0.0", "1.0", "2.0", "4.0"]
    assert float(rows[0][2]) <= 15  # at 5 %, more than 9 of 60 have a claim once in 1,000
    assert float(rows[3][1]) > float(rows[0][1])


def test_a_study_without_predictions_has_nothing_to_simulate(tmp_path):
    folder = write_study(tmp_path / "s", None)
    assert own_world(read_study(folder)) is None
    assert len(error_rates_section(read_study(folder)).blocks) == 1
