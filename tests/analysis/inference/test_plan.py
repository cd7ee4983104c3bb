"""The plan of a confirmation, as studies of every version have recorded it."""

import json

import pytest
from results_folder import SPACE, look_record

from analysis.inference.plan import read_plan
from focusnet.statistics.verdict import AVERAGE_ALPHA, MARGIN


def plan_of(folder, strata=(5, 100), search=None, **confirm):
    space = dict(SPACE) | {"search": SPACE["search"] | (search or {})}
    if confirm:
        space["confirm"] = confirm
    return read_plan(space, strata, folder)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(4, (4, 4)), ([8, 9], (2, 2)), ({5: 6, 100: 4}, (6, 4)), ({"5": [1, 3], "100": [2]}, (2, 1))],
)
def test_seeds_are_a_number_a_list_or_by_stratum(tmp_path, seeds, expected):
    plan = plan_of(tmp_path, seeds=seeds)
    assert tuple(plan.seeds(stratum) for stratum in (5, 100)) == expected
    assert (plan.current_look, plan.next_look(), plan.level) == (1, None, AVERAGE_ALPHA)


def test_a_study_without_confirmation_asks_for_nothing(tmp_path):
    for plan in (plan_of(tmp_path), plan_of(tmp_path, seeds=0), plan_of(tmp_path, seeds=[])):
        assert plan.looks == ()
        assert plan.seeds(5) == 0


def test_a_study_begun_before_is_not_cross_fitted_and_has_the_default_margin(tmp_path):
    plan = plan_of(tmp_path, seeds=[8, 9])
    assert (plan.cross_fit, plan.margin) == (False, MARGIN)
    plan = plan_of(tmp_path, seeds=4, cross_fit=True, margin=0.5)
    assert (plan.cross_fit, plan.margin) == (True, 0.5)


def test_looks_are_cumulative_and_the_level_is_that_of_the_last_one_taken(tmp_path):
    looks = [{5: 6, 100: 4}, 12]
    plan = plan_of(tmp_path, seeds=None, looks=looks)
    assert [plan.seeds(5, look) for look in (1, 2)] == [6, 12]
    assert (plan.looks_taken, plan.current_look, plan.next_look()) == (0, 1, None)
    record = look_record(1, 2, looks[0], level=0.0056)
    (tmp_path / "looks.json").write_text(json.dumps([record]))
    plan = plan_of(tmp_path, seeds=None, looks=looks)
    assert (plan.looks_taken, plan.current_look, plan.next_look()) == (1, 2, 2)
    assert plan.level == 0.0056
    records = [record, look_record(2, 2, {5: 12, 100: 12}, level=0.04)]
    (tmp_path / "looks.json").write_text(json.dumps(records))
    plan = plan_of(tmp_path, seeds=None, looks=looks)
    assert (plan.current_look, plan.next_look(), plan.level) == (2, None, 0.04)


@pytest.mark.parametrize(
    ("search", "fixed"),
    [
        ({"algorithm": "sobol"}, True),
        ({"algorithm": "grid"}, True),
        ({"algorithm": "tpe"}, False),
        ({"algorithm": "gp"}, False),
        ({"algorithm": "random", "scheduler": {"name": "asha"}}, False),
    ],
)
def test_a_search_is_fixed_if_nothing_depends_on_results(tmp_path, search, fixed):
    assert plan_of(tmp_path, search=search, seeds=4).search_is_fixed == fixed
