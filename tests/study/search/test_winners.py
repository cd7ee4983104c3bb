"""The winner of each stratum, by the rules of focusnet.winner."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from focusnet.winner import table_winners
from study.ledger.ledger import Trial
from study.ledger.trial_id import trial_id
from study.outputs.tables import trials_table
from study.search.follow_up import follow_ups, winner_of
from study.search.winners import best_trials, winners

METRIC = "focus/select/macro_accuracy"


def trial(name, value, subset=25, index=0, metric=METRIC, **fields):
    result = {"metrics": {metric: value, METRIC.replace("select", "report"): 1 - value}}
    parameters = {"data.subset": subset, "focus.weight": 1.0 + index}
    record = Trial(name, "focusnet", subset, index, 0, parameters, "finished", result=result)
    return replace(record, **fields)


TRIALS = [
    trial("a", 0.5),
    trial("b", 0.6, index=1),
    trial("equal", 0.6, index=2),
    trial("c", 0.1, subset=100),
    trial("without", 0.9, subset=100, index=1, metric="another"),
    trial("control", 0.9, subset=100, index=2, arm="cross_entropy"),
    trial("again", 0.9, subset=100, index=3, phase="confirm"),
]


def test_the_best_of_each_stratum_wins_by_the_metric_of_the_search(make_space):
    best = best_trials(TRIALS, METRIC)
    assert {stratum: one.id for stratum, one in best.items()} == {25: "b", 100: "c"}
    space = make_space((("search", "trials"), 2))
    for order in (TRIALS, TRIALS[::-1]):
        won = winners(space, order)
        assert {s: (one.stratum, one.name, one.estimate) for s, one in won.items()} == {
            25: (25, "b", 0.6),
            100: (100, "c", 0.1),
        }
        assert won[25].trial == TRIALS[1]
        assert won[25].parameters == {"data.subset": 25, "focus.weight": 2.0}
        assert won[25].half == "select"


def test_each_half_has_its_winner(make_space):
    won = winners(make_space(), TRIALS, "report")
    assert (won[25].name, won[25].half) == ("a", "report")
    assert won[25].estimate == pytest.approx(0.5)


def test_a_stratum_has_no_winner_before_its_search_has_ended(make_space):
    assert set(winners(make_space(), TRIALS)) == {25}
    assert set(winners(make_space((("search", "trials"), 4)), TRIALS)) == set()
    failed = [replace(one, status="failed", result={}) for one in TRIALS]
    assert winners(make_space(), failed) == {}


RULE = (("search", "winner"), "posterior_mean")


def searched(trials=8, subsets=(25, 100), metric=METRIC):
    """Trials of a search whose best settings none has tried."""
    generator = np.random.default_rng(2)
    found = []
    for subset, index in itertools.product(subsets, range(trials)):
        weight = float(np.exp(generator.uniform(np.log(0.1), np.log(10))))
        threshold = float(generator.uniform(0.02, 0.5))
        parameters = {"data.subset": subset, "focus.weight": weight, "focus.threshold": threshold}
        value = 0.5 - 0.02 * abs(math.log(weight / 2)) - 0.1 * abs(threshold - 0.2)
        other = 0.5 - 0.02 * abs(math.log(weight / 0.5)) - 0.1 * abs(threshold - 0.2)
        metrics = {metric: value, metric.replace("select", "report"): other}
        name, result = trial_id("focusnet", parameters, 0), {"metrics": metrics}
        found.append(
            Trial(name, "focusnet", subset, index, 0, parameters, "finished", result=result)
        )
    return found


def test_an_estimated_winner_needs_all_searches_ended(make_space):
    trials = searched()
    space = make_space(RULE, (("search", "trials"), 8))
    won = winners(space, trials)
    assert set(won) == {25, 100}
    assert winners(space, [replace(trials[0], status="running", result={}), *trials[1:]]) == {}
    assert winners(make_space(RULE, (("search", "trials"), 9)), trials) == {}
    by_stratum = ("search", "trials"), {25: 7, 100: 8}
    assert set(winners(make_space(RULE, by_stratum), trials)) == {25, 100}


def test_an_estimated_winner_need_not_have_been_trained(make_space):
    trials = searched()
    space = make_space(RULE, (("search", "trials"), 8))
    won = winners(space, trials)
    assert won == winners(space, trials[::-1])
    for stratum, one in won.items():
        assert (one.rule, one.doubt, one.trial) == ("posterior_mean", None, None)
        assert one.parameters["data.subset"] == stratum
        assert one.name == trial_id("focusnet", one.parameters, 0)
        assert one.described == f"{one.name}, setting estimated best (never trained in the search)"
        assert 1 < one.parameters["focus.weight"] < 4
        assert one.parameters == json.loads(json.dumps(one.parameters))
    others = winners(space, trials, "report")
    assert {one.half for one in others.values()} == {"report"}
    assert all(one.parameters["focus.weight"] < 1 for one in others.values())


def test_the_trial_of_an_estimated_winner_is_found_if_the_search_has_it(make_space):
    grid = {"choice": [0.5, 1.0, 2.0, 4.0]}
    space = make_space(
        (("space",), {"data.subset": {"choice": [25, 100]}, "focus.weight": grid}),
        (("search", "algorithm"), "grid"),
        (("search", "trials"), 4),
        RULE,
    )
    values = {25: (0.50, 0.55, 0.54, 0.40), 100: (0.60, 0.62, 0.66, 0.61)}
    trials = [
        trial(trial_id("focusnet", parameters, 0), value, subset, index, parameters=parameters)
        for subset, of_weights in values.items()
        for index, value in enumerate(of_weights)
        for parameters in [{"data.subset": subset, "focus.weight": grid["choice"][index]}]
    ]
    won = winners(space, trials)
    for one in won.values():
        assert one.trial in trials
        assert one.name == one.described == one.trial.id
        assert one.trial.parameters == one.parameters
        assert one.doubt == (
            "4 finished trials in its search, fewer than 8: the choice is nearly luck"
        )


def test_with_too_few_finished_trials_the_best_observed_wins(make_space):
    trials = searched(2)
    space = make_space(RULE, (("search", "trials"), 2))
    few = [trials[0], *(replace(one, status="failed", result={}) for one in trials[1:3]), trials[3]]
    won = winners(space, few)
    assert {s: (one.name, one.rule) for s, one in won.items()} == {
        25: (trials[0].id, "best_observed"),
        100: (trials[3].id, "best_observed"),
    }
    assert "1 finished trials in its search, too few for an estimate" in won[25].doubt
    failed = [replace(one, status="failed", result={}) for one in trials[2:]]
    assert set(winners(space, [*trials[:2], *failed])) == {25}


def test_report_and_export_name_the_same_winners_from_the_tables(make_space, tmp_path):
    trials = searched()
    space = make_space(RULE, (("search", "trials"), 8), (("confirm", "seeds"), 2))
    won = winners(space, trials)
    again = [
        replace(one, status="finished", result={"metrics": {METRIC: 0.5}})
        for stratum in (25, 100)
        for one in follow_ups(space, won[stratum])
    ]
    every = [*trials, *again]
    trials_table(every, list(space.domains), winner_of(space, every)).to_parquet(tmp_path / "t")
    table = pd.read_parquet(tmp_path / "t")
    content = yaml.safe_load(yaml.safe_dump(space.content()))
    for half in ("select", "report"):
        won = winners(space, every, half)
        found = {one.stratum: one for one in table_winners(table, content, half)}
        assert {s: one.parameters for s, one in found.items()} == {
            s: one.parameters for s, one in won.items()
        }
    found = table_winners(table, content)
    assert [one.name for one in found] == [one.name for one in winners(space, every).values()]
    assert [one.repeats["trial"].tolist() for one in found] == [
        [one.id for one in again[:2]],
        [one.id for one in again[2:]],
    ]
    assert all(one.decided and one.row is None for one in found)
    running = table_winners(table[table["trial"] != trials[0].id], content)
    assert [(one.rule, one.decided) for one in running] == [("best_observed", False)] * 2
