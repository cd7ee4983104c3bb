"""Seeds of a confirmation belong to one stratum and one half, and never come twice."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from small_space import CONTENT

from study.ledger.ledger import Trial
from study.search.confirmation_seeds import seeds_of_winner
from study.space.validation import validate_space

SUBSETS = (25, 50, 100)


def space_with(control_seeds, cross_fit=True, seed=0):
    content = {
        **CONTENT,
        "search": {**CONTENT["search"], "seed": seed},
        "controls": {"arms": ["placebo"], "seeds": control_seeds},
        "confirm": {"seeds": dict.fromkeys(SUBSETS, 4), "cross_fit": cross_fit},
        "space": {**CONTENT["space"], "data.subset": {"choice": list(SUBSETS)}},
    }
    return validate_space(content, "small.yaml")


def parameters(subset, weight):
    return {"data.subset": subset, "focus.weight": weight, "focus.threshold": 0.1}


def trained(space, trials, subset, weight, half, count, known=None):
    """The seeds of a winner, with its trials that are new, of which ``known`` were handed out."""
    own = parameters(subset, weight)
    seeds = seeds_of_winner(
        space, trials, stratum=subset, parameters=own, judged_on=half, count=count
    )
    new = [
        Trial(f"{subset}-{seed}", "focusnet", subset, 0, seed, own, phase="confirm")
        for seed in seeds[:known]
    ]
    have = {trial.id for trial in trials}
    new = [replace(one, judged_on=half, look=1) for one in new if one.id not in have]
    return seeds, new


def test_the_numbers_are_the_strata_s_own_and_their_parity_says_the_half():
    space = space_with([0, 4])  # first = 5, three strata
    found = {
        (subset, half): trained(space, [], subset, 1.0, half, 3)[0]
        for subset in SUBSETS
        for half in ("report", "select")
    }
    assert found == {
        (25, "report"): [5, 11, 17],
        (25, "select"): [8, 14, 20],
        (50, "report"): [6, 12, 18],
        (50, "select"): [9, 15, 21],
        (100, "report"): [7, 13, 19],
        (100, "select"): [10, 16, 22],
    }
    one_way = space_with([0], cross_fit=False)
    assert trained(one_way, [], 50, 1.0, "report", 3)[0] == [2, 5, 8]


def test_numbers_stay_in_range_and_skip_those_that_are_taken():
    last = 2**32 - 1
    space = space_with([0, 1], seed=last)
    assert trained(space, [], 25, 1.0, "report", 2)[0] == [6, 12], "0 is a control's"


STEP = st.tuples(
    st.sampled_from(SUBSETS),
    st.sampled_from([0.5, 1.0, 2.0]),  # which settings win
    st.sampled_from(["report", "select"]),
    st.integers(1, 9),  # seeds asked for
    st.integers(0, 9),  # trials handed out before the driver dies
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(STEP, max_size=12), control_seeds=st.sets(st.integers(0, 9), max_size=3))
def test_no_number_comes_twice_whatever_wins_and_however_many_are_asked_for(steps, control_seeds):
    space = space_with(sorted(control_seeds))
    trials = [
        Trial(f"control-{seed}", "placebo", 25, 0, seed, {}, phase="controls")
        for seed in control_seeds
    ]
    for subset, weight, half, count, known in steps:
        before = list(trials)
        seeds, new = trained(space, trials, subset, weight, half, count, known)
        trials += new
        assert len(set(seeds)) == len(seeds) == count
        own = [
            t.seed
            for t in before
            if (t.stratum, t.judged_on) == (subset, half)
            and t.parameters == parameters(subset, weight)
        ]
        assert set(seeds[: len(own)]) == set(sorted(own)[:count]), "what it has is used first"
        assert not set(seeds) & {t.seed for t in before if t.seed not in own}
        # The same question has the same answer once the trials are there, in whatever order.
        again, _ = trained(space, trials[::-1], subset, weight, half, count)
        assert again == seeds
    confirmed = [t.seed for t in trials if t.phase == "confirm"]
    assert len(set(confirmed)) == len(confirmed)
    assert not set(confirmed) & {space.search.seed, *control_seeds}
    first = 1 + max({0, *control_seeds})
    for trial in trials:
        if trial.phase == "confirm":
            j, place = divmod(trial.seed - first, len(SUBSETS))
            assert SUBSETS[place] == trial.stratum
            assert trial.judged_on == ("report" if j % 2 == 0 else "select")
