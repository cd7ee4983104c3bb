"""Planned looks decide which trials of a confirmation run; what they found stays decided."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from focusnet.statistics.looks import look_levels
from study.ledger.ledger import Ledger, record_end
from study.outputs.tables import write_tables
from study.search.confirmation import planned_looks, stage
from study.search.look import take_look
from study.search.searcher import LedgerSearch
from study.search.to_come import to_come

SELECT = "focus/select/macro_accuracy"
METRICS = {"focus/select/macro_accuracy": 0.5, "focus/report/macro_accuracy": 0.5}
ARMS = (("controls", "arms"), ["distillation", "placebo"])
LOOKS = (("confirm", "looks"), [4, {25: 6, 100: 5}, 8])
BEST = (("search", "winner"), "best_observed")
TRIALS = (("search", "trials"), 2)
PLAN = (ARMS, (("confirm", "seeds"), None), LOOKS, BEST, TRIALS, (("controls", "seeds"), []))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def predictions(seed, gain, noise=1.0):
    """Two scenes with three locations of 200 clips in each half; FocusNet gains points."""
    luck = np.random.default_rng(seed)
    frames = []
    for half in ("select", "report"):
        for stage_of, extra in (("template", 0.0), ("focus", gain)):
            for scene in ("bus", "park"):
                for place in range(3):
                    count = round(2 * (50 + extra + noise * luck.standard_normal()))
                    right = np.arange(200) < count
                    frames.append(
                        pd.DataFrame(
                            {
                                "stage": stage_of,
                                "half": half,
                                "scene": scene,
                                "location": f"{half}-{place}",
                                "logit/bus": np.where((scene == "bus") == right, 1.0, 0.0),
                                "logit/park": np.where((scene == "park") == right, 1.0, 0.0),
                            }
                        )
                    )
    return pd.concat(frames)


def finish(ledger, name, gain=0.0, **metrics):
    """Let the trial ``name`` finish."""
    folder = ledger.trial_folder(name)
    seed = json.loads((folder / "trial.json").read_text())["seed"]
    predictions(seed, gain).to_parquet(folder / "predictions.parquet")
    (folder / "result.json").write_text(json.dumps({"metrics": {**METRICS, **metrics}}))


class Driver:
    """Hands out trials and ends each at once, as a study with one slot does."""

    def __init__(self, space, ledger, gain=0.0, fails=lambda trial: False):
        self.space, self.ledger, self.gain, self.fails = space, ledger, gain, fails
        self.log = []

    def run(self, most=1000):
        """Run up to so many trials; what follows the last one is left to the next driver."""
        search = LedgerSearch(self.space, self.ledger)
        search.on_look = lambda record: self.log.append((record["look"], record["verdict"]))
        search.take_looks()
        for number in range(most):
            assert number < 999
            bound = search.remaining()
            one = search.suggest(str(number))
            if one == "FINISHED":
                assert not search.remaining()
                break
            assert one is not None, "nothing runs that could decide"
            assert search.remaining() <= bound - 1, "an upper bound"
            self.log.append((one["phase"], one["arm"]))
            if self.fails(one):
                record_end(self.ledger.trial_folder(one["trial"]), "failed", "why")
            else:
                # The second trial of each search wins on select, the first on report.
                second = len(list(self.ledger.folder.glob("trials/*/result.json"))) % 4 > 1
                value = 0.6 if second else 0.5
                halves = {SELECT: value, SELECT.replace("select", "report"): 1 - value}
                finish(self.ledger, one["trial"], self.gain, **halves)
        search.take_looks()
        return self


def of_confirmation(ledger):
    return [trial for trial in ledger.trials() if trial.phase == "confirm"]


def test_without_an_effect_all_looks_are_taken_and_no_control_is_trained(make_space, ledger):
    space = make_space(*PLAN, (("confirm", "margin"), 0.001))
    driver = Driver(space, ledger).run()
    assert [one for one in driver.log if one[1] == "undecided"] == [
        (1, "undecided"),
        (2, "undecided"),
        (3, "undecided"),
    ]
    trials = of_confirmation(ledger)
    assert {trial.arm for trial in trials} == {"focusnet"}
    count = pd.Series([(t.stratum, t.judged_on, t.look) for t in trials]).value_counts().to_dict()
    assert count == {
        (25, "report", 1): 2,
        (25, "select", 1): 2,
        (25, "report", 2): 1,
        (25, "select", 2): 1,
        (25, "report", 3): 1,
        (25, "select", 3): 1,
        (100, "report", 1): 2,
        (100, "select", 1): 2,
        (100, "report", 2): 1,
        (100, "report", 3): 1,
        (100, "select", 3): 2,
    }
    looks = ledger.looks()
    assert [one["follows"] for one in looks] == ["next look", "next look", "end"]
    information = [(2 / 8) / total for total in (2 / 4, 1 / 6 + 1 / 5, 2 / 8)]
    assert [one["information"] for one in looks] == pytest.approx(information)
    assert [one["level"] for one in looks] == pytest.approx(look_levels(tuple(information)))
    left = to_come(space, ledger.trials(), looks)
    assert (sum(left.counts.values()), left.at_most) == (0, False)


def test_after_a_gain_the_controls_follow_with_the_same_seeds_and_in_order(make_space, ledger):
    space = make_space(*PLAN)
    driver = Driver(space, ledger, gain=20.0).run()
    first = driver.log.index((1, "gain"))
    assert driver.log[:first] == [("search", "focusnet")] * 4 + [("confirm", "focusnet")] * 8
    rest = [("confirm", "placebo")] * 8 + [("confirm", "distillation")] * 8
    assert driver.log[first + 1 :] == rest
    pairs = {arm: set() for arm in ("focusnet", "placebo", "distillation")}
    for trial in of_confirmation(ledger):
        pairs[trial.arm].add((trial.stratum, trial.seed, trial.judged_on, trial.look))
    assert pairs["focusnet"] == pairs["placebo"] == pairs["distillation"]
    write_tables(ledger, space, set())
    table = pd.read_parquet(ledger.folder / "trials.parquet").set_index("trial")
    searched = table[table["phase"] == "search"]
    best = {
        half: searched.groupby("data.subset")[f"focus/{other}/macro_accuracy"].idxmax().to_dict()
        for half, other in (("report", "select"), ("select", "report"))
    }
    assert best["report"] != best["select"]
    for _, row in table[table["phase"] == "confirm"].iterrows():
        assert row["winner"] == best[row["judged_on"]][row["data.subset"]]
    assert table.loc[searched.index, ["judged_on", "look"]].isna().all(axis=None)
    assert table["look"].dropna().unique().tolist() == [1]


@pytest.mark.parametrize(
    ("gain", "margin", "verdict"), [(-20.0, 1.0, "loss"), (0.0, 50.0, "small")]
)
def test_a_loss_or_a_small_effect_ends_it_without_controls(
    make_space, ledger, gain, margin, verdict
):
    space = make_space(*PLAN, (("confirm", "margin"), margin))
    driver = Driver(space, ledger, gain).run()
    assert driver.log[-1] == (1, verdict)
    assert ledger.looks()[0]["follows"] == "end"
    assert len(of_confirmation(ledger)) == 8


@pytest.mark.parametrize("gain", [0.0, 20.0])
@pytest.mark.parametrize("deaths", [[1] * 60, [3, 4, 9, 2, 7], [10, 1, 1]])
def test_a_study_that_dies_anywhere_comes_to_the_same_end(make_space, tmp_path, gain, deaths):
    space = make_space(*PLAN, (("confirm", "margin"), 0.001))
    whole, parts = Ledger(tmp_path / "whole"), Ledger(tmp_path / "parts")
    Driver(space, whole, gain).run()
    for count in deaths:
        Driver(space, parts, gain).run(count)
    Driver(space, parts, gain).run()

    def state(ledger):
        looks = [{**one, "time": ""} for one in Ledger(ledger.folder).looks()]
        trials = [(t.id, t.seed, t.judged_on, t.look, t.index) for t in ledger.trials()]
        return looks, trials

    assert state(parts) == state(whole)


def test_a_look_on_record_is_not_taken_anew(make_space, ledger):
    space = make_space(*PLAN, (("confirm", "margin"), 0.001))
    Driver(space, ledger).run(4 + 8)
    record = ledger.looks()
    assert len(record) == 1
    for trial in of_confirmation(ledger):  # as if it had found something else
        predictions(trial.seed, 30.0).to_parquet(
            ledger.trial_folder(trial.id) / "predictions.parquet"
        )
    record[0]["verdict"] = "loss"
    (ledger.folder / "looks.json").write_text(json.dumps(record))
    Driver(space, ledger).run()
    assert ledger.looks() == record
    assert len(of_confirmation(ledger)) == 8


def test_a_failed_training_is_left_out_and_a_stratum_with_too_few_too(make_space, ledger):
    space = make_space(*PLAN)
    failing = Driver(
        space, ledger, 20.0, lambda one: one["phase"] == "confirm" and one["seed"] in (1, 2, 3, 4)
    )
    failing.run()
    first, second = ledger.looks()[:2]
    assert [one["counted"] for one in first["strata"]] == [False, False], "two are not enough"
    assert (first["verdict"], first["estimate"]) == ("undecided", None)
    assert [len(one["left_out"]) for one in second["strata"]] == [2, 2]
    assert [one["counted"] for one in second["strata"]] == [True, True]
    assert second["strata"][0]["seeds"] == {"report": [5, 9], "select": [7, 11]}
    assert second["verdict"] == "gain"


def test_a_stratum_whose_search_fails_is_not_part_of_the_average(make_space, ledger):
    space = make_space(*PLAN)
    fails = Driver(
        space, ledger, 20.0, lambda one: one["phase"] == "search" and one["data.subset"] == 25
    )
    fails.run()
    (look,) = ledger.looks()
    assert [one["stratum"] for one in look["strata"]] == [100]
    assert look["verdict"] == "gain"
    assert look["level"] == pytest.approx(look_levels((4 / 8, 5 / 8, 1.0))[0])


def test_the_effect_is_that_of_a_t_test_where_locations_say_nothing(make_space, ledger):
    """One clip more or less in every location: no noise between locations is left."""
    space = make_space(*PLAN, (("confirm", "looks"), [3, 8]))
    search = LedgerSearch(space, ledger)
    for number in range(4):
        finish(ledger, search.suggest(str(number))["trial"])
    look = stage(space, ledger.trials(), []).look
    gains = {1: 3.0, 3: 1.0, 5: 2.0, 2: 4.0, 4: 3.5, 6: 4.0}
    done = {
        stratum: [replace(trial, status="finished") for trial in own]
        for stratum, own in look.trials.items()
    }
    files = {
        trial.id: predictions(0, gains[trial.seed], noise=0.0).to_parquet()
        for own in done.values()
        for trial in own
    }
    record = take_look(space, replace(look, trials=done), files.get)
    # Seeds 1 and 5 of 25 % are judged on report, 3 on select; 2 and 6 of 100 %, and 4.
    assert [one["estimate"] for one in record["strata"]] == pytest.approx([1.75, 3.75])
    assert record["estimate"] == pytest.approx(2.75)
    # Variance within report: 0.5 and 0 points, 1 df each, for (1/2 + 1) / 4 of it and half strata.
    error = np.sqrt(0.5 * 1.5 / 4 / 4)
    assert record["p"] == pytest.approx(2 * stats.t.sf(2.75 / error, 1), rel=1e-6)
    assert record["interval"] == pytest.approx(
        [2.75 - stats.t.isf(0.025, 1) * error, 2.75 + stats.t.isf(0.025, 1) * error]
    )


def test_more_seeds_than_planned_are_looked_at_but_claim_nothing(make_space, ledger):
    settings = ARMS, BEST, TRIALS, (("controls", "seeds"), [])
    Driver(make_space(*settings, (("confirm", "seeds"), 4)), ledger, gain=20.0).run()
    more = make_space(*settings, (("confirm", "seeds"), 6))
    Driver(more, ledger, gain=20.0).run()
    first, second = ledger.looks()
    assert (first["level"], first["alpha"]) == pytest.approx((0.04, 0.04))
    assert first["verdict"] == "gain"
    assert second["level"] == 0.0
    assert second["p"] < 0.04
    assert second["verdict"] == "undecided"
    assert len(of_confirmation(ledger)) == 2 * 6 * 3, "controls run with all seeds, as asked"


def test_a_new_winner_is_judged_with_new_seeds_and_what_is_left_of_alpha(make_space, ledger):
    space = make_space(*PLAN, (("confirm", "margin"), 0.001))
    Driver(space, ledger).run()
    seeds = {trial.seed for trial in of_confirmation(ledger)}
    assert sum(one["alpha"] for one in ledger.looks()) == pytest.approx(3 * 0.05)
    grown = make_space(*PLAN, (("search", "trials"), 3), (("confirm", "margin"), 0.001))
    search = LedgerSearch(grown, ledger)
    for number in range(2):
        finish(
            ledger,
            search.suggest(str(number))["trial"],
            **{"focus/select/macro_accuracy": 0.9, "focus/report/macro_accuracy": 0.9},
        )
    Driver(grown, ledger, gain=20.0).run()
    looks = ledger.looks()
    assert len(looks) == 6, "the earlier winners' looks stay on record"
    assert [one["level"] for one in looks[3:]] == [0.0] * 3, "all has been spent on these"
    fresh = [trial.seed for trial in of_confirmation(ledger) if trial.seed not in seeds]
    assert len(fresh) == len(set(fresh)) == 16
    assert {t.arm for t in of_confirmation(ledger)} == {"focusnet"}


def test_an_early_end_leaves_alpha_for_a_later_winner(make_space, ledger):
    space = make_space(*PLAN)
    Driver(space, ledger, gain=-20.0).run()
    grown = make_space(*PLAN, (("search", "trials"), 3), (("confirm", "margin"), 0.001))
    search = LedgerSearch(grown, ledger)
    for number in range(2):
        finish(
            ledger,
            search.suggest(str(number))["trial"],
            **{"focus/select/macro_accuracy": 0.9, "focus/report/macro_accuracy": 0.9},
        )
    Driver(grown, ledger, gain=20.0).run()
    first, second = ledger.looks()
    assert (first["verdict"], second["verdict"]) == ("loss", "gain")
    assert second["alpha"] == pytest.approx(0.05 - first["level"], abs=1e-6)
    assert second["level"] < first["level"] + 1e-6


def test_an_adaptive_search_is_looked_at_on_one_half(make_space, ledger):
    tpe = (("search", "algorithm"), "tpe")
    space = make_space(*PLAN, tpe, (("confirm", "looks"), [2, 4]))
    assert not space.cross_fit
    Driver(space, ledger, gain=20.0).run()
    trials = of_confirmation(ledger)
    assert {trial.judged_on for trial in trials} == {"report"}
    seeds = {trial.stratum: set() for trial in trials}
    for trial in trials:
        seeds[trial.stratum].add(trial.seed)
    assert not seeds[25] & seeds[100], "no number is shared between strata"
    assert ledger.looks()[0]["strata"][0]["seeds"] == {"report": sorted(seeds[25])[:2]}


def test_before_the_first_look_the_bound_counts_every_look_and_all_controls(make_space, ledger):
    space = make_space(*PLAN)
    left = to_come(space, ledger.trials(), [])
    assert left.at_most
    assert sum(left.counts.values()) == space.trials_in_all == 4 + 2 * 8 * 3
    assert [look.seeds for look in planned_looks(space)] == list(space.confirm_looks)
