"""Controls of the winner and confirmation with fresh seeds follow each search."""

import json
from dataclasses import replace

import pytest

from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial, record_end
from study.outputs.tables import trials_table
from study.plan.resume import check_search_ended
from study.search.follow_up import all_follow_ups, ensemble_members, follow_ups, winner_of
from study.search.searcher import LedgerSearch
from study.search.winners import Winner, ended_searches

METRIC = "focus/select/macro_accuracy"
ARMS = (("controls", "arms"), ["cross_entropy", "placebo"])
SEEDS = (("confirm", "seeds"), [7, 8])


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


@pytest.fixture
def space(make_space):
    return make_space(ARMS, SEEDS, (("search", "trials"), 2))


def winner(subset=25, weight=1.5):
    parameters = {"data.subset": subset, "focus.weight": weight, "focus.threshold": 0.1}
    return Winner(subset, parameters, "select", "winner", None, 0.5)


def trained(won, name="winner", value=0.5):
    """The search's trial with the parameters of a winner."""
    result = {"metrics": {METRIC: value}}
    return Trial(name, "focusnet", won.stratum, 0, 0, won.parameters, "finished", result=result)


def end(ledger, trial, value=0.5, status="finished"):
    folder = ledger.trial_folder(trial["trial"])
    if status == "finished":
        (folder / "result.json").write_text(json.dumps({"metrics": {METRIC: value}}))
    else:
        record_end(folder, status)


def test_each_arm_is_trained_with_each_seed_and_the_parameters_that_it_uses(space):
    found = follow_ups(space, winner())
    assert [(trial.phase, trial.seed, trial.arm) for trial in found] == [
        ("controls", 0, "cross_entropy"),
        ("controls", 0, "placebo"),
        ("confirm", 7, "focusnet"),
        ("confirm", 7, "cross_entropy"),
        ("confirm", 7, "placebo"),
        ("confirm", 8, "focusnet"),
        ("confirm", 8, "cross_entropy"),
        ("confirm", 8, "placebo"),
    ]
    assert len(found) == space.follow_ups_per_stratum
    for trial in found:
        uses_all = trial.arm != "cross_entropy"
        assert trial.parameters == (winner().parameters if uses_all else {"data.subset": 25})
        assert f"seed{trial.seed}" in trial.id
    assert len({trial.id for trial in found}) == len(found)
    assert found == follow_ups(space, winner())


def test_only_retrained_winners_are_members_of_an_ensemble(space):
    space = replace(space, search=space.search.model_copy(update={"trials": 1}))
    won = trained(winner())
    assert ensemble_members(space, [won]) == set()
    keeping = replace(space, confirmed_weights=True)
    repeated = {
        t.id for t in follow_ups(space, winner()) if t.phase == "confirm" and t.arm == "focusnet"
    }
    assert len(repeated) == 2
    assert ensemble_members(keeping, [won]) == repeated
    assert ensemble_members(keeping, [replace(won, status="running")]) == set()


def test_winners_share_controls_that_ignore_what_differs_between_them(space):
    before, after = (
        {trial.id for trial in follow_ups(space, winner(weight=w))} for w in (1.5, 2.5)
    )
    assert all("cross_entropy" in name for name in before & after)
    assert len(before & after) == 3


def test_fresh_seeds_differ_from_those_of_the_search_and_its_controls(make_space):
    space = make_space(ARMS, (("controls", "seeds"), [0, 1, 3]), (("confirm", "seeds"), 3))
    assert space.confirm_seeds == (2, 4, 5)
    assert space.fresh_seeds == (1, 3, 2, 4, 5)
    last = 2**32 - 1
    assert make_space((("search", "seed"), last), (("confirm", "seeds"), 2)).confirm_seeds == (0, 1)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("confirm", "seeds"), [0, 1], "confirm.seeds: must be fresh.* received 0"),
        (("confirm", "seeds"), [1, 1], "confirm.seeds.*: each may be given once, received 1"),
        (("confirm", "seeds"), -1, r"confirm\.seeds: must be .* from 0 .* received -1"),
        (("confirm", "seeds"), "x", r"^small.yaml: confirm\.seeds: must be .* received 'x'$"),
        (("confirm", "seeds"), [True], r"confirm\.seeds: must be a number of seeds or a list"),
        (("controls", "arms"), ["focusnet"], r"controls\.arms.*cross_entropy.*received 'focusnet'"),
        (("controls", "arms"), ["placebo", "placebo"], "received 'placebo' twice"),
        (("space", "seed"), {"choice": [0, 1]}, "space.seed: .*confirm.seeds"),
    ],
)
def test_wrong_controls_and_seeds_are_reported_by_path(make_space, keys, value, message):
    with pytest.raises(ConfigError, match=message):
        make_space((keys, value))


def test_a_placebo_without_stored_logits_is_refused(make_space):
    online = {"choice": ["stored", "online"]}
    with pytest.raises(ConfigError, match=r"controls\.arms: placebo shuffles stored logits"):
        make_space(ARMS, (("space", "focus.template_logits"), online))
    with pytest.raises(ConfigError, match=r"controls\.arms: placebo shuffles stored logits"):
        make_space(ARMS, (("trial", "focus"), {"template_logits": "online"}))


def test_templates_are_counted_for_each_stratum_and_each_fresh_seed(make_space):
    assert make_space(ARMS, SEEDS).templates_at_most() == 2 + 2 * 2
    assert make_space(ARMS, SEEDS).trials_in_all == 2 * (3 + 2 + 3 * 2)
    none = make_space(ARMS, SEEDS, (("trial", "template"), {"epochs": 6, "reuse": False}))
    assert none.templates_at_most() == none.trials_in_all


def test_controls_start_when_the_search_of_their_stratum_has_ended(space, ledger):
    search = LedgerSearch(space, ledger)
    assert search.remaining() == 2 * (2 + 8)
    first = [search.suggest(str(i)) for i in range(4)]
    assert {one["phase"] for one in first} == {"search"}
    assert search.suggest("4") is None, "no search has ended, so none has a winner"
    of_25 = [one for one in first if one["data.subset"] == 25]
    end(ledger, of_25[0], 0.6)
    assert search.suggest("5") is None
    end(ledger, of_25[1], 0.7)
    rest = [search.suggest(str(i)) for i in range(6, 14)]
    assert {one["data.subset"] for one in rest} == {25}
    weights = {one["focus.weight"] for one in rest if one["arm"] != "cross_entropy"}
    assert weights == {of_25[1]["focus.weight"]}, "the winner's"
    assert search.suggest("14") is None, "the other stratum's search goes on"
    for one in first:
        if one["data.subset"] == 100:
            end(ledger, one, 0.5)
    assert search.suggest("15")["data.subset"] == 100
    assert LedgerSearch(space, ledger).remaining() == 8 + 8


def test_a_stratum_without_a_winner_has_no_controls(space, ledger):
    search = LedgerSearch(space, ledger)
    first = [search.suggest(str(i)) for i in range(4)]
    for one in first:
        end(ledger, one, status="failed" if one["data.subset"] == 25 else "finished")
    rest = [search.suggest(str(i)) for i in range(8)]
    assert {one["data.subset"] for one in rest} == {100}
    assert search.suggest("9") == "FINISHED"


def test_trials_whose_template_is_in_training_come_last(space, ledger):
    search = LedgerSearch(space, ledger)
    for one in [search.suggest(str(i)) for i in range(4)]:
        end(ledger, one)
    controls = [search.suggest(str(i)) for i in range(4)]
    assert {one["phase"] for one in controls} == {"controls"}
    confirm = [search.suggest(str(i)) for i in range(5)]
    groups = [(one["data.subset"], one["seed"]) for one in confirm]
    assert sorted(groups[:4]) == [(25, 7), (25, 8), (100, 7), (100, 8)]
    assert {one["arm"] for one in confirm[:4]} == {"focusnet"}


def test_trials_of_a_former_winner_stay_and_belong_to_no_winner(space, ledger):
    search = LedgerSearch(space, ledger)
    first = [search.suggest(str(i)) for i in range(4)]
    for value, one in enumerate(first):
        end(ledger, one, value / 10)
    before = {search.suggest(str(i))["trial"] for i in range(16)}
    trials = ledger.trials()
    named = winner_of(space, trials)
    assert set(named) == before
    assert ended_searches(space, trials) == {25, 100}
    now = [*trials, trained(winner(weight=9.0), "better", 0.9)]
    table = trials_table(now, list(space.domains), winner_of(space, now)).set_index("trial")
    of_25 = table[(table["data.subset"] == 25) & (table["phase"] != "search")]
    assert set(of_25.loc[of_25["arm"] == "cross_entropy", "winner"]) == {"better"}
    assert of_25.loc[of_25["arm"] != "cross_entropy", "winner"].isna().all()
    assert set(all_follow_ups(space, now)) == {25, 100}


def test_confirm_is_refused_before_the_search_has_ended(space, ledger, make_space):
    with pytest.raises(ConfigError, match="holds no study"):
        check_search_ended(ledger, space, "RESUME")
    ledger.begin(space.content())
    search = LedgerSearch(space, ledger)
    first = [search.suggest(str(i)) for i in range(4)]
    end(ledger, first[0])
    with pytest.raises(ConfigError, match=r"not ended \(1 of 4 trials have\).*RESUME"):
        check_search_ended(ledger, space, "RESUME")
    for one in first[1:]:
        end(ledger, one)
    check_search_ended(ledger, space, "RESUME")
    nothing = make_space((("search", "trials"), 2))
    with pytest.raises(ConfigError, match="nothing to run"):
        check_search_ended(ledger, nothing, "RESUME")
