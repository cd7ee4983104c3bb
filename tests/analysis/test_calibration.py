"""The calibration passes for the statistics in use and fails for wrong ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis import calibration
from analysis.calibration import conclusion, limit, main
from analysis.inference import worlds
from analysis.inference.worlds import TAU22, Errors
from focusnet.statistics import verdict


@pytest.mark.slow
def test_the_statistics_in_use_are_calibrated(capsys):
    assert main(["--studies", "60", "--seed", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("calibrated: false claims in ")
    of_tables = [line for line in lines if line.startswith(("TAU22 ", "demo "))]
    assert len(of_tables) == 5 + 6 + 9 + 6


def test_the_numbers_do_not_depend_on_the_number_of_processes(few, capsys):
    def numbers(processes):
        main(["--studies", "20", "--processes", processes])
        return capsys.readouterr().out.splitlines()[:-1]

    assert numbers("1") == numbers("1")


@pytest.fixture
def few(monkeypatch):
    """Only the noisiest world, with one look."""
    world = replace(TAU22, seed_sd=2.0)
    monkeypatch.setattr(
        calibration, "tasks", lambda studies: [("null", "count_errors", (world, 0.0, studies))]
    )


@pytest.mark.usefixtures("few")
def test_the_statistics_in_use_pass_where_seeds_vary_most(capsys):
    assert main(["--studies", "150", "--processes", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("calibrated: false claims in")


@pytest.mark.usefixtures("few")
def test_noise_of_seeds_that_is_left_out_is_detected(monkeypatch, capsys):
    def too_narrow(*arguments):
        average, strata = pooled(*arguments)
        return average._replace(seed_variance=average.seed_variance / 9), strata

    pooled = worlds.pooled_effect
    monkeypatch.setattr(worlds, "pooled_effect", too_narrow)
    assert main(["--studies", "60", "--processes", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("MISCALIBRATED: ")


@pytest.mark.usefixtures("few")
def test_strata_that_are_not_corrected_are_detected(monkeypatch, capsys):
    monkeypatch.setattr(verdict, "holm", lambda p: p)
    monkeypatch.setattr(verdict, "STRATA_ALPHA_ALONE", 0.05)
    assert main(["--studies", "150", "--processes", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("MISCALIBRATED: ")


def test_a_true_rate_of_five_percent_exceeds_the_limit_once_in_a_thousand():
    assert limit(1000) == 73
    assert stats.binom.sf(73, 1000, 0.05) <= 0.001 < stats.binom.sf(72, 1000, 0.05)


@pytest.mark.parametrize("what", ["claims", "misses", "stratum_misses", "arm_claims"])
def test_one_error_more_than_the_limit_is_too_many(what):
    none = Errors(TAU22, 0.0, 100, claims=0.0, gains=0.0, small=0.0, misses=0.0,
                  stratum_misses=0.0, arm_claims=0.0)  # fmt: skip
    most = replace(none, **{what: limit(100) / 100})
    more = replace(none, **{what: (limit(100) + 1) / 100})
    assert conclusion({"null": [none, most]})[0] == 0
    assert conclusion({"null": [none, most, more]})[0] == 1
    assert "(limit 13.0 % of 100 studies)" in conclusion({"null": [most]})[1]


def test_claims_are_errors_only_where_there_is_no_effect():
    one = Errors(TAU22, 2.0, 100, claims=1.0, gains=1.0, small=0.0, misses=0.0)
    assert conclusion({"null": [], "looks": [one], "whole": [one]})[0] == 0
    assert conclusion({"null": [], "looks": [replace(one, effect=0.0)]})[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--studies", "5"], "at least 20"), (["--processes", "0"], "at least 1, received 0")],
)
def test_too_few_are_refused(capsys, arguments, message):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_looks_end_early_where_the_effect_is_large():
    generator = np.random.default_rng(0)
    found = worlds.count_with_looks(TAU22, 4.0, 40, generator)
    assert found.gains == 1
    assert found.mean_looks < 0.5
