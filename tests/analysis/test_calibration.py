"""The calibration passes for the statistics in use and fails for wrong ones."""

import numpy as np
import pytest
from scipy import stats

from analysis import calibration
from analysis.calibration import conclusion, limit, main


@pytest.mark.slow
def test_the_statistics_in_use_are_calibrated(capsys):
    assert main(["--studies", "100", "--seed", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("calibrated: 6 x 100 studies without effect: false claims in ")
    assert "power at the detectable effect" in lines[-1]
    assert sum(line.startswith(("demo ", "TAU22 ")) for line in lines) == 6 + 15


@pytest.fixture
def few(monkeypatch):
    """Only the noisiest study, without the part on power."""
    monkeypatch.setattr(calibration, "NULL", calibration.NULL[-1:])
    monkeypatch.setattr(calibration, "POWER", calibration.POWER[:1])
    monkeypatch.setattr(calibration, "EFFECTS", ())


def too_narrow(differences, design, components):
    half = 1.96 * np.sqrt(components.location)  # the noise of seeds is left out
    return components.effect - half, components.effect + half


@pytest.mark.usefixtures("few")
def test_the_statistics_in_use_pass_where_seeds_vary_most(capsys):
    assert main(["--studies", "100"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("calibrated: 1 x 100 studies")


@pytest.mark.usefixtures("few")
def test_a_wrong_interval_is_detected(monkeypatch, capsys):
    monkeypatch.setattr(calibration, "study_intervals", too_narrow)
    assert main(["--studies", "60"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("MISCALIBRATED: ")


@pytest.mark.usefixtures("few")
def test_claims_that_are_not_corrected_over_strata_are_detected(monkeypatch, capsys):
    monkeypatch.setattr(calibration, "holm", np.zeros_like)  # the intervals stay correct
    assert main(["--studies", "200"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("MISCALIBRATED: ")


def test_a_true_rate_of_five_percent_exceeds_the_limit_once_in_a_hundred():
    assert limit(1000) == 67
    assert stats.binom.sf(67, 1000, 0.05) <= 0.01 < stats.binom.sf(66, 1000, 0.05)


@pytest.mark.parametrize("what", ["signs", "misses"])
def test_one_error_more_than_the_limit_is_too_many(what):
    errors = np.zeros((100, 1), dtype=bool)
    names = ("signs", "misses", "percentile_misses", "cell_rejections")
    values = dict.fromkeys(names, errors)
    outcomes = []
    for count in (limit(100), limit(100) + 1):
        some = values | {what: (np.arange(100) < count)[:, None]}
        outcomes.append(calibration.Outcome(calibration.DEMO, 0.0, None, **some))
    assert conclusion(outcomes[:1])[0] == 0
    assert conclusion(outcomes)[0] == 1


def test_too_few_studies_are_refused(capsys):
    assert main(["--studies", "5"]) == 2
    assert "at least 20" in capsys.readouterr().err
