"""The next configuration depends on the seed and the earlier trials alone."""

import itertools
import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from small_space import CONTENT

from study.ledger.trial_id import trial_id
from study.search.configurations import STARTUP, next_configuration
from study.search.past_trial import PastTrial
from study.space.validation import validate_space


def run(space, stratum, trials, state="finished"):
    """The first configurations of a stratum, scored by how near the threshold is to 0.2."""
    history = []
    for _ in range(trials):
        chosen = next_configuration(space, stratum, history)
        value = -abs(chosen.get("focus.threshold", 0.0) - 0.2)
        history.append(PastTrial(chosen, state, (value,) if state == "finished" else ()))
    return [trial.parameters for trial in history]


def test_random_depends_on_seed_stratum_and_index_and_not_on_results(make_space):
    space = make_space()
    assert run(space, 25, 5) == run(space, 25, 5, state="running")
    assert run(space, 25, 5)[1:] != run(space, 100, 5)[1:]
    other = make_space((("search", "seed"), 1))
    firsts = [c["focus.weight"] for c in run(space, 25, 5)]
    assert not set(firsts) & {c["focus.weight"] for c in run(other, 25, 5)}


def test_the_search_does_not_change_when_the_code_does(make_space):
    # Golden: a resumed study must continue with the configurations that it began with.
    first = run(make_space(), 25, 1)[0]
    assert first == {
        "data.subset": 25,
        "focus.weight": pytest.approx(0.722, abs=5e-4),
        "focus.threshold": pytest.approx(0.370, abs=5e-4),
    }


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_stays_in_its_ranges(seed):
    content = {**CONTENT, "search": {**CONTENT["search"], "seed": seed}}
    content["space"] = {
        **CONTENT["space"],
        "template.epochs": {"int": [3, 4]},
        "focus.template_logits": {"choice": ["stored", "online"]},
    }
    for chosen in run(validate_space(content, "s"), 100, 6):
        assert chosen["data.subset"] == 100
        assert 0.1 <= chosen["focus.weight"] <= 10
        assert 0.02 <= chosen["focus.threshold"] <= 0.5
        assert chosen["template.epochs"] in (3, 4)
        assert isinstance(chosen["template.epochs"], int)
        assert chosen["focus.template_logits"] in ("stored", "online")


@pytest.mark.parametrize("algorithm", ["random", "tpe", "sobol"])
def test_with_as_many_trials_as_points_every_point_is_visited(make_space, algorithm):
    space = make_space(
        (("search", "algorithm"), algorithm),
        (("search", "trials"), 16),
        (("space", "focus.weight"), {"choice": [1, 2, 3, 4]}),
        (("space", "focus.threshold"), {"choice": [0.1, 0.2, 0.3, 0.4]}),
    )
    chosen = {(c["focus.weight"], c["focus.threshold"]) for c in run(space, 25, 16)}
    assert chosen == set(itertools.product([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]))


def test_a_grid_is_its_product_in_the_order_of_the_file(make_space):
    space = make_space(
        (("search", "algorithm"), "grid"),
        (("search", "trials"), ...),
        (("space", "focus.weight"), {"choice": [2, 1]}),
        (("space", "focus.threshold"), {"choice": [0.1, 0.2]}),
    )
    points = [(c["focus.weight"], c["focus.threshold"]) for c in run(space, 25, 4)]
    assert points == [(2, 0.1), (2, 0.2), (1, 0.1), (1, 0.2)]


def test_tpe_begins_at_random_and_then_approaches_the_best(make_space):
    tpe = make_space((("search", "algorithm"), "tpe"), (("search", "trials"), 60))
    chance = make_space((("search", "trials"), 60))
    chosen, drawn = run(tpe, 25, 60), run(chance, 25, 60)
    assert chosen[:STARTUP] == drawn[:STARTUP]
    assert chosen == run(tpe, 25, 60)

    def miss(configurations):
        late = [abs(c["focus.threshold"] - 0.2) for c in configurations[30:]]
        return sum(late) / len(late)

    assert miss(chosen) < miss(drawn) / 2


@pytest.mark.slow
def test_gp_begins_at_random_and_then_approaches_the_best(make_space):
    gp = make_space((("search", "algorithm"), "gp"), (("search", "trials"), 18))
    chosen = run(gp, 25, 18)
    assert chosen[:STARTUP] == run(make_space(), 25, STARTUP)
    late = [abs(c["focus.threshold"] - 0.2) for c in chosen[STARTUP + 3 :]]
    assert max(late) < 0.1  # at random: 0.14 on average


@pytest.mark.slow
def test_gp_is_a_function_of_the_record_and_concurrent_trials_differ(make_space):
    space = make_space(
        (("search", "algorithm"), "gp"),
        (("search", "trials"), 20),
        (("space", "focus.lr"), {"choice": [None, 1e-5, 1e-4]}),
        (("space", "focus.folds"), {"int": [2, 5]}),
        (("space", "focus.epochs"), {"choice": [5]}),
    )
    history = [
        PastTrial(chosen, "finished", (-abs(chosen["focus.threshold"] - 0.2),))
        for chosen in run(space, 25, STARTUP)
    ]
    history.append(PastTrial({**history[0].parameters, "focus.folds": 4}, "stopped", (), {1: 0.1}))
    history.append(PastTrial(history[0].parameters, "failed"))
    history.append(PastTrial(history[1].parameters, "finished", (float("nan"),)))
    first = next_configuration(space, 25, history)
    assert next_configuration(space, 25, history) == first
    second = next_configuration(space, 25, [*history, PastTrial(first, "running")])
    assert second != first
    assert first["focus.epochs"] == 5
    assert isinstance(first["focus.folds"], int)


def test_gp_waits_for_trials_with_values(make_space):
    space = make_space((("search", "algorithm"), "gp"), (("search", "trials"), 40))
    chance = make_space((("search", "trials"), 40))
    for state in ("stopped", "running", "failed"):
        assert run(space, 25, 15, state) == run(chance, 25, 15, state)


def reference_sobol(seed, points):
    """The points by scipy itself: names in alphabetical order, each through its own scale."""
    cube = scipy.stats.qmc.Sobol(4, scramble=True, seed=seed).random(points)
    low, high = math.log(0.1), math.log(10)
    return [
        {
            "data.subset": 25,
            "focus.weight": pytest.approx(math.exp(low + (high - low) * weight)),
            "focus.threshold": pytest.approx(0.02 + 0.48 * threshold),
            "focus.template_logits": ("stored", "online", "cross_fitted")[int(3 * logits)],
            "focus.folds": 2 + int(4 * folds),
        }
        for folds, logits, threshold, weight in cube
    ]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_sobol_is_a_scrambled_sobol_sequence(seed):
    content = {**CONTENT, "search": {**CONTENT["search"], "algorithm": "sobol", "seed": seed}}
    content["space"] = {
        **CONTENT["space"],
        "focus.template_logits": {"choice": ["stored", "online", "cross_fitted"]},
        "focus.folds": {"int": [2, 5]},
    }
    space = validate_space(content, "s")
    assert run(space, 25, 8) == reference_sobol(seed, 8)
    turned = {**content, "space": dict(reversed(content["space"].items()))}
    assert run(validate_space(turned, "s"), 25, 8) == run(space, 25, 8)


def test_sobol_depends_on_seed_and_index_alone(make_space):
    sobol = ("search", "algorithm"), "sobol"
    space = make_space(sobol, (("search", "trials"), {25: 8, 100: 3}))
    chosen = run(space, 25, 8)
    assert chosen == run(space, 25, 8, state="running")
    assert [{**c, "data.subset": 25} for c in run(space, 100, 3)] == chosen[:3]
    for index in (0, 5):  # whatever the earlier trials were
        earlier = [PastTrial(chosen[0], "failed")] * index
        assert next_configuration(space, 25, earlier) == chosen[index]
    other = run(make_space(sobol, (("search", "seed"), 1)), 25, 8)
    assert not {c["focus.weight"] for c in other} & {c["focus.weight"] for c in chosen}
    # The first 2^m points halve each parameter's range evenly.
    assert sum(c["focus.threshold"] < 0.26 for c in chosen) == 4
    assert sum(c["focus.weight"] < 1 for c in chosen) == 4


def test_a_sobol_search_does_not_change_when_the_code_does(make_space):
    # Golden: see above.
    first = run(make_space((("search", "algorithm"), "sobol")), 25, 1)[0]
    assert first == {
        "data.subset": 25,
        "focus.weight": pytest.approx(7.29, abs=5e-4),
        "focus.threshold": pytest.approx(0.428, abs=5e-4),
    }


def test_sobol_takes_truth_values_and_a_space_without_parameters(make_space):
    space = make_space(
        (("search", "algorithm"), "sobol"),
        (("search", "trials"), 2),
        (("space", "focus.weight"), ...),
        (("space", "focus.threshold"), ...),
        (("space", "augment.time_offset"), {"choice": [True, False]}),
    )
    assert {c["augment.time_offset"] for c in run(space, 25, 2)} == {True, False}
    nothing = make_space(
        (("search", "algorithm"), "sobol"),
        (("search", "trials"), 1),
        (("space", "focus.weight"), ...),
        (("space", "focus.threshold"), ...),
    )
    assert run(nothing, 25, 1) == [{"data.subset": 25}]


def test_tpe_accepts_stopped_failed_and_running_trials_without_repeating_itself(make_space):
    space = make_space((("search", "algorithm"), "tpe"), (("search", "trials"), 40))
    history = []
    for place in range(40):
        chosen = next_configuration(space, 25, history)
        state = ("finished", "stopped", "failed", "running", "finished")[place % 5]
        value = {"finished": 0.5 + place / 100}.get(state)
        if place == 4:
            value = float("nan")  # must count as failed, not end the search
        curve = {1: 0.1, 2: 0.2} if state == "stopped" else {}
        history.append(PastTrial(chosen, state, (value,), curve))
    assert len({tuple(t.parameters.items()) for t in history}) == 40


def test_tpe_with_two_objectives_approaches_the_pareto_front(make_space):
    # The first is best at a threshold of 0.1, the second, which is to be small, at 0.3: what lies
    # outside is worse by both.
    def late(algorithm):
        space = make_space(
            (("search", "algorithm"), algorithm),
            (("search", "trials"), 60),
            (("search", "second_metric"), "focus/select/calibration_error"),
        )
        history = []
        for _ in range(60):
            chosen = next_configuration(space, 25, history)
            threshold = chosen["focus.threshold"]
            values = (-abs(threshold - 0.1), abs(threshold - 0.3))
            history.append(PastTrial(chosen, "finished", values))
            if len(history) == 20:
                history[3] = PastTrial(history[3].parameters, "running")
                history[4] = PastTrial(history[4].parameters, "finished", (float("nan"), 0.1))
        return [0.09 <= one.parameters["focus.threshold"] <= 0.31 for one in history[30:]]

    assert sum(late("tpe")) > sum(late("random")) + 5


def test_a_trial_id_shows_the_parameters_and_hashes_them_in_full_precision():
    parameters = {"data.subset": 25, "focus.weight": 0.53412, "focus.threshold": 0.12}
    name = trial_id("focusnet", parameters, 0)
    assert name.startswith("subset25-weight0.534-threshold0.12-")
    turned = trial_id("focusnet", dict(reversed(parameters.items())), 0)
    assert turned.rpartition("-")[2] == name.rpartition("-")[2]
    others = [
        trial_id("focusnet", {**parameters, "focus.weight": 0.534121}, 0),
        trial_id("focusnet", parameters, 1),
        trial_id("placebo", parameters, 0),
    ]
    assert len({name, *others}) == 4
    assert others[2].startswith("placebo-subset25")


def test_a_trial_id_is_safe_as_a_folder_name():
    name = trial_id("focusnet", {"data.root": "/a b/../ü?", "template.lr": 1e-5, "focus.lr": 2}, 0)
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert "template.lr1e-05" in name
    assert "focus.lr2" in name
