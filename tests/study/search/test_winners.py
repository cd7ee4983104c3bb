"""The winner of each stratum, by the rules of focusnet.winner."""

from dataclasses import replace

import pytest

from study.ledger.ledger import Trial
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
