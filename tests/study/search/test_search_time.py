"""``search.hours``: the search ends in time, over all runs, and what follows it begins."""

import pytest

from study.ledger.ledger import Ledger, Trial
from study.ledger.search_time import SearchTime, searched_seconds
from study.search.searcher import LedgerSearch
from study.search.to_come import end_if_over, to_come

HOURS = ("search", "hours"), 2.0


def trials(*strata, status="finished"):
    return [
        Trial(f"t{n}", "focusnet", stratum, n, 0, {"data.subset": stratum}, status)
        for n, stratum in enumerate(strata)
    ]


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_time_of_all_runs_counts_and_a_kill_loses_ten_seconds_at_most(tmp_path):
    clock = Clock()
    first = SearchTime(tmp_path, clock)
    for clock.now in (105.0, 111.0, 118.0):
        first.seconds()
    assert searched_seconds(tmp_path) == 11.0, "the process was killed after 18 s"
    clock.now = 1000.0
    second = SearchTime(tmp_path, clock)
    clock.now = 1004.0
    assert second.seconds() == 15.0
    second.end()
    assert searched_seconds(tmp_path) == 15.0


def test_the_search_ends_with_the_trials_that_were_begun(make_space):
    space = make_space(HOURS)
    known = trials(25, 100, 25)
    assert not end_if_over(space, known, 7199.0)
    assert end_if_over(space, known, 7200.0)
    assert [space.trials_of(stratum) for stratum in space.strata] == [2, 1]
    assert space.content()["search"]["trials"] == {25: 2, 100: 1}
    assert to_come(space, known, []).of_phase("search") == 0


def test_each_stratum_gets_its_first_trial(make_space):
    assert not end_if_over(make_space(HOURS), trials(25, 25), 9999.0)


def test_a_search_whose_trials_were_all_begun_has_not_ended_early(make_space):
    assert not end_if_over(make_space(HOURS), trials(25, 25, 25, 100, 100, 100), 9999.0)


def test_without_hours_a_search_has_no_limit(make_space):
    assert not end_if_over(make_space(), trials(25, 100), 1e9)


def test_followers_begin_when_the_running_trials_of_a_search_out_of_time_have_ended(
    make_space, tmp_path
):
    space = make_space(HOURS, (("confirm", "seeds"), 1))
    ledger = Ledger(tmp_path)
    ledger.begin(space.content())
    SearchTime(tmp_path).end()
    (tmp_path / "search_time.json").write_text('{"seconds": 7200}')
    search = LedgerSearch(space, ledger)
    over = []
    search.on_time_over = lambda: over.append(search.to_come())
    first, second = search.suggest("a"), search.suggest("b")
    assert {first["data.subset"], second["data.subset"]} == {25, 100}, "each has its first trial"
    assert search.suggest("c") is None, "both run: what follows waits for them"
    assert over == [{(25, "search"): 0, (100, "search"): 0} | dict.fromkeys(
        [(25, "controls"), (100, "controls")], 0
    ) | {(25, "confirm"): 1, (100, "confirm"): 1}]  # fmt: skip
    assert ledger.space()["search"]["trials"] == {25: 1, 100: 1}


def test_with_more_hours_a_resumed_search_goes_on(make_space, tmp_path):
    (tmp_path / "search_time.json").write_text('{"seconds": 7200}')
    known = trials(25, 100)
    more = make_space((("search", "hours"), 3.0))
    assert not end_if_over(more, known, searched_seconds(tmp_path))
    assert to_come(more, known, []).of_phase("search") == 4


@pytest.mark.parametrize("hours", [0, -1, "long"])
def test_hours_are_a_number_above_0(make_space, hours):
    from focusnet.errors import ConfigError

    with pytest.raises(ConfigError, match=r"search\.hours: .*received"):
        make_space((("search", "hours"), hours))
