"""The fixed order of comparisons is a gate, and every rival must be beaten."""

import numpy as np

from analysis.inference.order import ordered_verdicts
from focusnet.statistics.pooled import Effect


def effect(*estimates, error=0.5):
    values = np.array(estimates, float)
    many = np.full_like(values, 1e6)
    return Effect(values, np.full_like(values, error**2), many, np.zeros_like(values), many)


def words(steps, alpha=0.04):
    return [[list(one) for one in step] for step in ordered_verdicts(steps, alpha)]


def test_a_later_comparison_is_claimed_only_after_gains():
    # Of two studies the first gains over the template, the second does not.
    found = words([[effect(3, 0)], [effect(3, 3)], [effect(3, 3), effect(0.1, 3)]])
    assert found[0] == [["gain", "small"]]
    assert found[1] == [["gain", "not claimed"]]
    # All rivals must be beaten: one of them is not.
    assert found[2][0][0] != "gain"
    assert [one[1] for one in found[2]] == ["not claimed"] * 2


def test_a_loss_closes_the_gate():
    assert words([[effect(-3)], [effect(3)]])[1] == [["not claimed"]]


def test_rivals_are_beaten_at_the_largest_p():
    # 2.1 standard errors are p 0.036, 2.0 are p 0.046.
    assert words([[effect(1.05), effect(5)]]) == [[["gain"], ["gain"]]]
    assert words([[effect(1.0), effect(5)]]) == [[["undecided"], ["undecided"]]]


def test_false_claims_over_rivals_do_not_exceed_the_level():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 20_000)) * 0.5
    steps = [[effect(*noise[0])], [effect(*noise[1])], [effect(*noise[2])]]
    found = ordered_verdicts(steps, 0.04)
    claimed = [np.isin(one, ["gain", "loss"]) for step in found for one in step]
    assert abs(np.mean(claimed[0]) - 0.04) < 0.005
    assert np.mean(np.any(claimed, axis=0)) < 0.045  # in any of the comparisons
    # Where the template is beaten for sure, the first false claim is at the placebo.
    found = ordered_verdicts([[effect(*(noise[0] + 50))], *steps[1:]], 0.04)
    later = [np.isin(one, ["gain", "loss"]) for step in found[1:] for one in step]
    assert np.mean(np.any(later, axis=0)) < 0.045
