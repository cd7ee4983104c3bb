"""The part study_cost, mostly without running its studies, which take minutes."""

import pandas as pd
import pytest

from benchmarks.parts import study_cost
from study.space.validation import validate_space


def trials(*spans, day="2026-01-01"):
    """A table of trials with these end times and durations in seconds."""
    ended = [f"{day}T00:00:{end:02}+00:00" for end, _ in spans]
    return pd.DataFrame({"ended": ended, "seconds": [float(took) for _, took in spans]})


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(10, 4)], 4),
        ([(10, 4), (20, 5)], 9),
        ([(10, 4), (12, 4)], 6),  # 6-10 and 8-12
        ([(20, 10), (15, 2), (20, 10)], 10),  # one within another, two equal
        ([], 0),
    ],
)
def test_seconds_in_which_at_least_one_trial_computed(spans, expected):
    assert study_cost.computing(trials(*spans)) == pytest.approx(expected)


def test_the_small_study_is_valid_with_all_its_variations():
    settings = study_cost.small_space(trials=3, epochs=2)
    assert validate_space(settings, "small.yaml").trials_in_all == 3
    settings["trial"]["template"]["reuse"] = False
    settings["resources"]["max_concurrent"] = 1
    assert validate_space(settings, "small.yaml").resources.max_concurrent == 1


@pytest.mark.parametrize("scheduler", ["asha", "none"])
def test_the_searches_with_and_without_early_stopping_are_valid(scheduler):
    space = validate_space(study_cost.demo_search(18, scheduler=scheduler), "search.yaml")
    assert space.trials_in_all == 18
    assert space.search.scheduler.name == scheduler


def test_ratios_are_computed_from_seconds_of_trials(monkeypatch, tmp_path):
    def run_study(place, arguments, name, script=None):
        shared = "reuse: true" in (place / "small.yaml").read_text()
        return study_cost.FinishedStudy(trials((10, 3), (20, 3 if shared else 6)), 30.0, "")

    monkeypatch.setattr(study_cost, "run_study", run_study)
    assert study_cost.shared_templates(tmp_path, 2, 1).ratio.median == pytest.approx(9 / 6)
    fixed = study_cost.fixed_cost(tmp_path, whole_demo=False, epochs=1)
    assert fixed.ours.median == pytest.approx(1 - 9 / 30)


def test_the_output_of_a_failed_study_is_reported(tmp_path):
    (tmp_path / "broken.py").write_text("print('no space left'); raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"(?s)status 3.*no space left"):
        study_cost.run_study(tmp_path / "s", [], "small", tmp_path / "broken.py")


@pytest.mark.slow
def test_trials_that_do_nothing_run_by_the_real_command(tmp_path):
    row = study_cost.driver_time(tmp_path, 2)
    assert row.ours is not None
    assert 0 < row.ours.median < row.notes["wall_per_trial"]
