"""Tests of the Pareto front of searches with two objectives."""

import copy

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from results_folder import SELECT, SPACE, finished, write_study

from analysis.read_study import read_study
from analysis.render.document import Figure, Table
from analysis.sections.two_objectives import pareto_front, two_objectives_section

ERROR = "focus/select/calibration_error"
GROUP = "focus/select/group/unseen"


def table(rows, metrics=(SELECT, ERROR)):
    frame = pd.DataFrame(rows, columns=list(metrics))
    return frame.assign(status="finished", trial=[str(i) for i in range(len(rows))])


def test_the_front_has_the_trials_that_none_dominates_best_by_the_first_metric_first():
    # Higher accuracy and lower error are better: 0 dominates 2, and 1 dominates 3.
    rows = [(0.6, 0.10), (0.5, 0.05), (0.6, 0.20), (0.4, 0.05), (0.7, 0.30)]
    assert pareto_front(table(rows), (SELECT, ERROR))["trial"].tolist() == ["4", "0", "1"]
    up = table(rows, (SELECT, GROUP))
    assert pareto_front(up, (SELECT, GROUP))["trial"].tolist() == ["4"]


def test_trials_that_did_not_finish_or_lack_a_metric_are_not_on_the_front():
    trials = table([(0.9, np.nan), (0.8, 0.1), (0.5, 0.2)])
    trials.loc[1, "status"] = "stopped"
    assert pareto_front(trials, (SELECT, ERROR))["trial"].tolist() == ["2"]
    assert pareto_front(trials.drop(columns=ERROR), (SELECT, ERROR)).empty


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20))
def test_every_trial_is_on_the_front_or_dominated_by_one_on_it(rows):
    front = pareto_front(table([(float(a), float(e)) for a, e in rows]), (SELECT, ERROR))
    best = list(zip(front[SELECT], front[ERROR], strict=True))
    assert best
    for accuracy, error in rows:
        beaten = any(a >= accuracy and e <= error and (a, e) != (accuracy, error) for a, e in best)
        assert beaten != ((accuracy, error) in best)


def test_the_report_shows_the_front_of_each_stratum(tmp_path):
    space = copy.deepcopy(SPACE)
    trials = [
        finished("x-a", 25, select=0.6) | {ERROR: 0.1},
        finished("x-b", 25, select=0.7) | {ERROR: 0.2},
        finished("x-c", 25, select=0.5) | {ERROR: 0.3},
    ]
    assert (
        two_objectives_section(read_study(write_study(tmp_path / "one", trials, space=space)))
        is None
    )
    space["search"]["second_metric"] = ERROR
    section = two_objectives_section(read_study(write_study(tmp_path / "two", trials, space=space)))
    shown = next(block for block in section.blocks if isinstance(block, Table))
    assert list(shown.header[-3:]) == [
        "focus macro accuracy, %",
        "focus calibration error, %",
        "trial",
    ]
    assert [row[-3:] for row in shown.rows] == [("70.0", "20.0", "b"), ("60.0", "10.0", "a")]
    assert any(isinstance(block, Figure) for block in section.blocks)
    empty = two_objectives_section(read_study(write_study(tmp_path / "none", [], space=space)))
    assert empty.blocks == ["No finished trial has both objectives yet."]
