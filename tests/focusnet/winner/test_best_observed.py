"""The best observed trial wins, against a sort written out."""

import math

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from focusnet.arms import ARMS
from focusnet.winner import candidate_rows, is_candidate, position_of_best, winning_row

METRIC = "focus/select/macro_accuracy"
TRIALS = st.lists(
    st.fixed_dictionaries(
        {
            "arm": st.sampled_from(["focusnet", *ARMS]),
            "phase": st.sampled_from(["search", "search", "controls", "confirm"]),
            "status": st.sampled_from(["finished", "finished", "stopped", "failed", "pending"]),
            METRIC: st.sampled_from([0.25, 0.5, 0.75, math.nan]),  # ties are common
        }
    ),
    max_size=12,
)


def ranked(trials):
    """Positions of the candidates, the winner first: by value, then by place."""
    places = [
        place
        for place, one in enumerate(trials)
        if (one["arm"], one["phase"], one["status"]) == ("focusnet", "search", "finished")
        and not math.isnan(one[METRIC])
    ]
    return sorted(places, key=lambda place: (-trials[place][METRIC], place))


@given(TRIALS, st.randoms())
def test_the_highest_candidate_wins_and_the_first_of_equals(trials, random):
    expected = ranked(trials)
    table = pd.DataFrame(trials, columns=["arm", "phase", "status", METRIC])
    table.index = random.sample(range(100), len(table))  # labels mean nothing
    table["place"] = range(len(table))
    candidates = candidate_rows(table, METRIC)
    assert candidates["place"].tolist() == sorted(expected)
    if expected:
        assert winning_row(candidates, METRIC)["place"] == expected[0]
    places = [
        place
        for place, one in enumerate(trials)
        if is_candidate(arm=one["arm"], phase=one["phase"], status=one["status"], value=one[METRIC])
    ]
    assert places == sorted(expected)
    if expected:
        best = position_of_best(trials[place][METRIC] for place in places)
        assert places[best] == expected[0]


def test_a_trial_without_the_metric_is_no_candidate():
    facts = {"arm": "focusnet", "phase": "search", "status": "finished"}
    assert not is_candidate(**facts, value=None)
    assert candidate_rows(pd.DataFrame([facts]), METRIC).empty


def test_without_phases_every_trial_belongs_to_the_search():
    table = pd.DataFrame({"arm": ["focusnet"], "status": ["finished"], METRIC: [0.5]})
    assert len(candidate_rows(table, METRIC)) == 1
