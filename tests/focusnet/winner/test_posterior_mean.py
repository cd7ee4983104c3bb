"""The rule posterior_mean, against a computation written out with plain linear algebra."""

import itertools
import math

import numpy as np
import pytest

from focusnet.winner import SearchSpace, estimated_best, posterior_mean

DOMAINS = {
    "data.subset": {"choice": [10, 100]},
    "focus.weight": {"loguniform": [0.1, 10.0]},
    "logits": {"choice": ["stored", "online"]},
}
SPACE = SearchSpace(DOMAINS, "data.subset", 3)


def trials(count=10, noise=0.02, seed=0, strata=(10, 100), path="data.subset"):
    generator = np.random.default_rng(seed)
    found = []
    for stratum, _ in itertools.product(strata, range(count)):
        weight = float(np.exp(generator.uniform(math.log(0.1), math.log(10))))
        logits = str(generator.choice(["stored", "online"]))
        value = 0.5 - 0.05 * math.log(weight / 3, 10) ** 2 + 0.02 * (logits == "online")
        value += noise * generator.standard_normal()
        found.append(({path: stratum, "focus.weight": weight, "logits": logits}, value))
    return found


def means(observed, settings, strata):
    """Posterior means (strata, settings) by full covariance matrices with a wide level prior."""

    def place(one):
        return math.log(one["focus.weight"] / 0.1) / math.log(100), one["logits"]

    def kernel(one, other, apart, length, reach):
        (x, a), (y, b) = place(one), place(other)
        r = math.sqrt(5 * ((x - y) ** 2 + (a != b))) / length
        return (1 + r + r * r / 3) * math.exp(-r) * math.exp(-apart / reach)

    def distance(one, other):
        return abs(math.log(one / other))

    own = [parameters for parameters, _ in observed]
    y = np.array([value for _, value in observed])
    y = (y - y.mean()) / y.std()
    level = np.array([[float(one["data.subset"] == s) for s in strata] for one in own])
    total, weights = 0.0, []
    for length, reach, signal in itertools.product(
        (0.2, 0.4, 0.8, 1.6), (1.0, 3.0, 10.0), (0.0, 0.1, 0.3, 1.0, 3.0)
    ):
        covariance = np.eye(len(own)) + signal * np.array(
            [
                [
                    kernel(p, q, distance(p["data.subset"], q["data.subset"]), length, reach)
                    for q in own
                ]
                for p in own
            ]
        )
        inverse = np.linalg.inv(covariance)
        gram = level.T @ inverse @ level
        base = np.linalg.solve(gram, level.T @ inverse @ y)
        rest = inverse @ (y - level @ base)
        square = float((y - level @ base) @ rest)
        evidence = -0.5 * (
            np.linalg.slogdet(covariance)[1]
            + np.linalg.slogdet(gram)[1]
            + (len(y) - len(strata)) * math.log(square)
        )
        across = signal * np.array(
            [
                [
                    [kernel(p, q, distance(p["data.subset"], s), length, reach) for p in own]
                    for q in settings
                ]
                for s in strata
            ]
        )
        weights.append((evidence, base[:, None] + across @ rest))
    top = max(evidence for evidence, _ in weights)
    total = sum(math.exp(evidence - top) for evidence, _ in weights)
    return sum(math.exp(evidence - top) / total * mean for evidence, mean in weights)


def test_the_settings_with_the_highest_posterior_mean_win():
    observed = trials()
    found = estimated_best(SPACE, observed)
    tried = [{k: v for k, v in one.items() if k != "data.subset"} for one, _ in observed]
    candidates = [*tried, *SPACE.cube.spread(256, 3)]
    expected = means(observed, candidates, (10, 100))
    spread = np.std([value for _, value in observed])
    shift = np.mean([value for _, value in observed])
    for place, one in enumerate(found):
        best = int(np.argmax(expected[place]))
        assert one.parameters == {"data.subset": (10, 100)[place], **candidates[best]}
        assert one.mean == pytest.approx(shift + spread * expected[place, best], abs=1e-9)
        assert (one.stratum, one.finished) == ((10, 100)[place], 10)


def test_one_lucky_trial_does_not_win():
    observed = trials(noise=0.002)
    worst = {"data.subset": 10, "focus.weight": 0.1, "logits": "stored"}
    found = estimated_best(SPACE, [*observed, (worst, 0.56)])
    assert max([*observed, (worst, 0.56)], key=lambda one: one[1])[0] == worst
    assert found[0].parameters["focus.weight"] > 1


def test_of_equals_the_first_that_was_tried_wins():
    observed = [(parameters, 0.5) for parameters, _ in trials()]
    for order in (observed, observed[::-1]):
        first = order[0][0]
        for one in estimated_best(SPACE, order):
            assert one.parameters == {**first, "data.subset": one.stratum}


def test_a_setting_that_failed_in_a_stratum_cannot_win_there():
    observed = [(parameters, 0.5) for parameters, _ in trials()]
    first, second = observed[0][0], observed[1][0]
    found = estimated_best(SPACE, observed, [{**first, "data.subset": 100}])
    assert found[0].parameters == first
    assert found[1].parameters == {**second, "data.subset": 100}


def test_a_stratum_without_a_trial_has_no_winner_and_too_few_trials_none():
    of_one = [one for one in trials() if one[0]["data.subset"] == 100]
    assert [one.stratum for one in estimated_best(SPACE, of_one)] == [100]
    assert estimated_best(SPACE, []) is None
    two = [of_one[0], trials()[0]]
    assert estimated_best(SPACE, two) is None
    assert len(estimated_best(SPACE, [*two, of_one[1]])) == 2


def test_strata_may_be_words_and_a_study_may_have_a_single_search():
    words = {"size": {"choice": ["tiny", "passt_s"]}} | dict(list(DOMAINS.items())[1:])
    observed = trials(strata=("tiny", "passt_s"), path="size")
    found = estimated_best(SearchSpace(words, "size", 3), observed)
    assert [one.parameters["size"] for one in found] == ["tiny", "passt_s"]
    (single,) = estimated_best(SearchSpace(words, None, 3), observed)
    assert single.stratum is None
    assert set(single.parameters) == set(words)


def test_the_stratum_alone_may_be_searched():
    only = {"data.subset": DOMAINS["data.subset"]}
    observed = [({"data.subset": subset}, 0.5) for subset in (10, 100, 100)]
    found = estimated_best(SearchSpace(only, "data.subset", 0), observed)
    assert [one.parameters for one in found] == [{"data.subset": 10}, {"data.subset": 100}]


def test_the_fit_is_made_once_for_the_same_trials(monkeypatch):
    observed = trials(seed=77)
    first = estimated_best(SPACE, observed)
    monkeypatch.setattr(posterior_mean, "fit_surface", None)
    assert estimated_best(SPACE, observed) == first
