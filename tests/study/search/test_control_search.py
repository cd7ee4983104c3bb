"""Searches of control arms: fixed in advance, and what they decide."""

import itertools
import json
from collections import Counter

import pandas as pd
import pytest

from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial, record_end
from study.outputs.tables import write_tables
from study.search.confirmation import stage
from study.search.control_search import tuned, tuning_trials
from study.search.follow_up import all_follow_ups, winners_by_half
from study.search.searcher import LedgerSearch
from study.space.recorded import validate_recorded

METRIC = "focus/select/macro_accuracy"
SMOOTHING = {"focus.label_smoothing": {"uniform": [0.0, 0.4]}}
DISTILLATION = {
    "focus.distillation.weight": {"uniform": [0.0, 1.0]},
    "focus.distillation.temperature": {"loguniform": [1, 8]},
}
SEARCHES = (("controls", "search"), {"label_smoothing": SMOOTHING, "distillation": DISTILLATION})
TUNED = (
    (("search", "algorithm"), "sobol"),
    (("search", "trials"), {25: 4, 100: 2}),
    (("search", "winner"), "best_observed"),
    (("controls", "arms"), ["label_smoothing", "distillation", "placebo"]),
    (("controls", "seeds"), []),
    (("confirm", "seeds"), 2),
    SEARCHES,
)


@pytest.fixture
def space(make_space):
    return make_space(*TUNED)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def value_of(trial, half="select"):
    """An accuracy that depends on the arm's own settings, the best ones another on each half."""
    settings = trial["parameters"] if isinstance(trial, dict) else trial.parameters
    best = {"select": 0.1, "report": 0.3}[half]
    return 0.5 - sum(abs(v - best) / 9 for p, v in settings.items() if p != "data.subset")


def finish(ledger, name):
    """End the trial as its worker would."""
    folder = ledger.trial_folder(name)
    record = json.loads((folder / "trial.json").read_text())
    metrics = {
        f"focus/{half}/macro_accuracy": value_of(record, half) for half in ("select", "report")
    }
    (folder / "result.json").write_text(json.dumps({"metrics": metrics}))
    return record


def run_all(space, ledger, anew=False, end=finish):
    """Hand out and end one trial after the other; with ``anew`` a new driver each time."""
    handed = []
    search = LedgerSearch(space, ledger)
    for number in itertools.count():
        if anew:
            search = LedgerSearch(space, ledger)
        suggested = search.suggest(str(number))
        if isinstance(suggested, str):
            return handed
        assert suggested is not None, "nothing runs, so it must not wait"
        handed.append(end(ledger, suggested["trial"]))


def test_an_arm_gets_as_many_trials_as_focusnet_over_settings_of_its_own(space):
    of_25, of_100 = (tuning_trials(space, stratum) for stratum in (25, 100))
    assert Counter(trial.arm for trial in of_25) == {"label_smoothing": 4, "distillation": 4}
    assert Counter(trial.arm for trial in of_100) == {"label_smoothing": 2, "distillation": 2}
    for trial in of_25:
        own = SMOOTHING if trial.arm == "label_smoothing" else DISTILLATION
        assert trial.parameters.keys() == {"data.subset", *own}
        assert (trial.phase, trial.seed, trial.searched) == ("controls", space.search.seed, False)
        assert trial.id.startswith(f"{trial.arm}-search-subset25-")
    # The same settings in each stratum, decided in advance.
    for first, second in zip(of_100[:2], of_25[:2], strict=True):
        assert first.parameters | {"data.subset": 25} == second.parameters
    assert space.trials_in_all == 6 + 2 * 6 + (2 + 2) * 4
    assert space.content()["controls"]["search"] == SEARCHES[1]
    assert validate_recorded(space.content(), "s") == space


@pytest.mark.parametrize("anew", [False, True])
def test_the_confirmation_trains_what_the_arms_own_search_found_best(space, ledger, anew):
    ledger.begin(space.content())
    assert LedgerSearch(space, ledger).remaining() == space.trials_in_all
    handed = run_all(space, ledger, anew)
    assert len(handed) == space.trials_in_all
    assert len({one["trial"] for one in handed}) == len(handed)
    tuning = [one for one in handed if one.get("tuning")]
    assert len(tuning) == 12
    for arm, stratum in itertools.product(("label_smoothing", "distillation"), (25, 100)):
        own = [one for one in tuning if (one["arm"], one["stratum"]) == (arm, stratum)]
        best = max(own, key=value_of)["parameters"]
        confirmed = [one for one in handed if one["phase"] == "confirm" and one["arm"] == arm]
        confirmed = [one for one in confirmed if one["stratum"] == stratum]
        assert [one["parameters"] for one in confirmed] == [best, best]
        last = max(handed.index(one) for one in own)
        assert all(handed.index(one) > last for one in confirmed)
    placebo = [one for one in handed if one["arm"] == "placebo"]
    assert all("focus.threshold" in one["parameters"] for one in placebo)
    indices = Counter((one["stratum"], one["index"]) for one in handed)
    assert max(indices.values()) == 1


def test_what_is_still_to_come_shrinks_by_one_with_each_trial(space, ledger):
    ledger.begin(space.content())
    search = LedgerSearch(space, ledger)
    for left in range(space.trials_in_all, 0, -1):
        assert search.remaining() == left
        finish(ledger, search.suggest("x")["trial"])
    assert search.remaining() == 0


def test_a_driver_waits_while_the_trials_of_an_arms_search_run(space, ledger):
    ledger.begin(space.content())
    search = LedgerSearch(space, ledger)
    running = []
    while (suggested := search.suggest("x")) is not None:
        if suggested.get("phase") == "search" or suggested["arm"] in ("focusnet", "placebo"):
            finish(ledger, suggested["trial"])
        else:
            running.append(suggested["trial"])
    assert len(running) == 12  # the arms' searches: what they find best is not known
    for name in running:
        finish(ledger, name)
    assert search.suggest("x")["phase"] == "confirm"


def test_an_arm_whose_search_has_failed_is_not_confirmed(space, ledger):
    ledger.begin(space.content())

    def end(ledger, name):
        record = finish(ledger, name)
        if record.get("tuning") and (record["arm"], record["stratum"]) == ("distillation", 25):
            (ledger.trial_folder(name) / "result.json").unlink()
            record_end(ledger.trial_folder(name), "failed", "an error")
        return record

    handed = run_all(space, ledger, end=end)
    confirmed = {(one["arm"], one["stratum"]) for one in handed if one["phase"] == "confirm"}
    assert ("distillation", 25) not in confirmed
    assert {("distillation", 100), ("label_smoothing", 25)} < confirmed


def test_with_cross_fitting_each_half_chooses_the_arms_settings(make_space, ledger):
    space = make_space(*TUNED, (("confirm", "seeds"), 4), (("confirm", "cross_fit"), True))
    ledger.begin(space.content())
    handed = run_all(space, ledger)
    assert len(handed) == space.trials_in_all
    for half, other in (("select", "report"), ("report", "select")):
        own = [one for one in handed if one.get("tuning") and one["arm"] == "label_smoothing"]
        best = max((o for o in own if o["stratum"] == 25), key=lambda o: value_of(o, half))
        confirmed = [
            one["parameters"]
            for one in handed
            if (one["arm"], one["stratum"], one.get("judged_on")) == ("label_smoothing", 25, other)
        ]
        assert confirmed == [best["parameters"]] * 2
    best = tuned(space, ledger.trials(), space.strata)
    assert best["label_smoothing", 25, "select"] != best["label_smoothing", 25, "report"]


def test_by_posterior_mean_an_arm_is_decided_when_all_strata_are(make_space, ledger):
    space = make_space(*TUNED, (("search", "winner"), "posterior_mean"))
    ledger.begin(space.content())
    handed = run_all(space, ledger)
    assert len(handed) == space.trials_in_all
    for arm in ("label_smoothing", "distillation"):
        of_arm = [(place, one) for place, one in enumerate(handed) if one["arm"] == arm]
        last = max(place for place, one in of_arm if one.get("tuning"))
        assert last < min(place for place, one in of_arm if one["phase"] == "confirm")


def test_with_planned_looks_arms_are_searched_after_a_gain_only(make_space):
    space = make_space(*TUNED, (("confirm", "seeds"), ...), (("confirm", "looks"), [3, 6]))
    metrics = {METRIC: 0.5, "focus/report/macro_accuracy": 0.5}
    searched = [
        Trial(
            f"t{stratum}-{number}",
            "focusnet",
            stratum,
            number,
            seed=0,
            parameters={
                "data.subset": stratum,
                "focus.weight": 1.0 + number,
                "focus.threshold": 0.1,
            },
            status="finished",
            result={"metrics": metrics},
        )
        for stratum, count in ((25, 4), (100, 2))
        for number in range(count)
    ]
    due = stage(space, searched, []).due
    assert {trial.arm for own in due.values() for trial in own} == {"focusnet"}
    names = {s: {half: w.name for half, w in own.items()}
             for s, own in winners_by_half(space, searched).items()}  # fmt: skip
    seeds = {s: [t.seed for t in own] for s, own in due.items()}
    look = {
        "strata": [
            {"stratum": s, "planned": 3, "winners": names[s], "seeds": {"report": seeds[s]}}
            for s in names
        ],
        "level": 0.01,
    }
    for verdict, count in (("gain", 6), ("loss", 0), ("small", 0)):
        after = stage(space, searched, [{**look, "verdict": verdict}]).due
        tuning = [trial for own in after.values() for trial in own if trial.tuning]
        assert len(tuning) == 2 * count
    undecided = stage(space, searched, [{**look, "verdict": "undecided"}]).due
    assert {trial.arm for own in undecided.values() for trial in own} == {"focusnet"}


def test_tables_tell_an_arms_search_from_controls_of_the_winner(space, ledger):
    ledger.begin(space.content())
    run_all(space, ledger)
    write_tables(ledger, space, ())
    table = pd.read_parquet(ledger.folder / "trials.parquet")
    tuning = table[table["tuning"]]
    assert len(tuning) == 12
    assert tuning["winner"].isna().all()
    assert set(tuning["phase"]) == {"controls"}
    assert tuning["focus.label_smoothing"].notna().sum() == 6
    assert table.loc[table["phase"] == "confirm", "winner"].notna().all()


def test_without_winners_no_arm_is_searched(space):
    assert all_follow_ups(space, []) == {}


WRONG = [
    ({"placebo": {"focus.weight": {"uniform": [0, 1]}}}, "controls.search.placebo: must be one of"),
    ({"label_smoothing": {}}, "controls.search.label_smoothing: must name a parameter to search"),
    (
        {"label_smoothing": {"focus.weight": {"uniform": [0, 1]}}},
        "controls.search.label_smoothing.focus.weight: arm label_smoothing does not use this",
    ),
    (
        {"label_smoothing": {"template.lr": {"choice": [1e-4, 1e-3]}}},
        "controls.search.label_smoothing.template.lr: must be a setting of focus or student that",
    ),
    (
        {"label_smoothing": {"focus.label_smoothing": {"uniform": [0.5, 1.0]}}},
        "controls.search.label_smoothing.focus.label_smoothing: should be less than 1",
    ),
    (
        {"label_smoothing": {"focus.label_smoothing": [0.1]}},
        "controls.search.label_smoothing.focus.label_smoothing: must be one of {choice",
    ),
    (
        {"label_smoothing": {"focus.labels": {"choice": [1]}}},
        "controls.search.label_smoothing.focus.labels: the trial has no such setting (did you mean",
    ),
    (
        {"label_smoothing": {"focus.label_smoothing": {"choice": [0.1, 0.2]}}},
        "controls.search.label_smoothing: has 2 distinct configurations, fewer than the 3 trials",
    ),
    (
        {"label_smoothing": 3},
        "controls.search.label_smoothing: must be a mapping of keys to values",
    ),
]


@pytest.mark.parametrize(("searches", "message"), WRONG)
def test_a_mistake_in_an_arms_search_is_reported_with_its_path(make_space, searches, message):
    with pytest.raises(ConfigError) as error:
        make_space((("controls", "arms"), ["label_smoothing"]), (("controls", "search"), searches))
    assert len(error.value.problems) == 1, error.value.problems
    assert message in error.value.problems[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((("search", "algorithm"), "tpe"), "needs a search that no result steers .* received"),
        ((("space", "template.lr"), {"choice": [1e-4, 1e-3]}), ".* must not hold template.lr"),
        ((("space", "focus.folds"), {"choice": [2, 3]}), ".* must not hold focus.folds"),
        ((("trial", "template", "reuse"), False), "needs trial.template.reuse: true"),
    ],
)
def test_an_arms_search_needs_a_fixed_search_and_one_template(make_space, change, message):
    arms = (("controls", "arms"), ["label_smoothing"])
    with pytest.raises(ConfigError, match=rf"controls\.search: {message}"):
        make_space(arms, (("controls", "search"), {"label_smoothing": SMOOTHING}), change)


def test_a_grid_of_an_arm_may_have_fewer_points(make_space):
    space = make_space(
        (("search", "algorithm"), "grid"),
        (("search", "trials"), ...),
        (("space", "focus.weight"), {"choice": [1, 2, 3]}),
        (("space", "focus.threshold"), {"choice": [0.1]}),
        (("controls", "arms"), ["label_smoothing"]),
        (
            ("controls", "search"),
            {"label_smoothing": {"focus.label_smoothing": {"choice": [0.1, 0.2]}}},
        ),
    )
    assert [t.parameters["focus.label_smoothing"] for t in tuning_trials(space, 25)] == [0.1, 0.2]
