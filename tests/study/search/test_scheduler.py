"""ASHA stops trials within a stratum, never across strata."""

import copy
import pickle
from types import SimpleNamespace

import pytest

from study.search.scheduler import StratifiedAsha

METRIC = "focus/select/macro_accuracy"


@pytest.fixture
def asha():
    return StratifiedAsha(
        metric=METRIC, stratify="data.subset", grace_epochs=2, max_epochs=6, reduction_factor=3
    )


def add(scheduler, name, subset):
    trial = SimpleNamespace(trial_id=name, config={"trial": name, "data.subset": subset})
    scheduler.on_trial_add(None, trial)
    return trial


def report(scheduler, trial, epoch, value, stage="focus"):
    record = {"stage": stage, "epoch": epoch, "epochs": 6, f"{stage}/select/macro_accuracy": value}
    return scheduler.on_trial_result(None, trial, record)


def test_trials_are_compared_within_their_stratum_only(asha):
    for name, value in (("a", 0.8), ("b", 0.7), ("c", 0.75)):
        assert report(asha, add(asha, name, 100), 1, value) == "CONTINUE"
    for name, value in (("a", 0.8), ("b", 0.85)):
        trial = SimpleNamespace(trial_id=name, config={"trial": name, "data.subset": 100})
        assert report(asha, trial, 2, value) == "CONTINUE"
    assert report(asha, add(asha, "behind", 100), 2, 0.5) == "STOP"
    assert report(asha, add(asha, "small", 5), 2, 0.2) == "CONTINUE"
    assert asha.stopped == {"behind"}


def test_epochs_of_the_template_are_ignored(asha):
    report(asha, add(asha, "a", 100), 2, 0.9)
    behind = add(asha, "b", 100)
    assert report(asha, behind, 2, 0.1, stage="template") == "CONTINUE"
    assert report(asha, behind, 2, 0.1) == "STOP"


def test_if_not_every_epoch_is_evaluated_the_next_evaluated_one_decides(asha):
    report(asha, add(asha, "a", 100), 3, 0.9)
    behind = add(asha, "b", 100)
    unseen = {"stage": "focus", "epoch": 2, "epochs": 6, "focus/train/loss": 9.0}
    assert asha.on_trial_result(None, behind, unseen) == "CONTINUE"
    assert report(asha, behind, 3, 0.1) == "STOP"


def test_the_final_results_of_a_trial_are_ignored(asha):
    report(asha, add(asha, "a", 100), 2, 0.9)
    assert asha.on_trial_result(None, add(asha, "b", 100), {METRIC: 0.1}) == "CONTINUE"


def test_a_trial_that_reaches_its_last_epoch_is_never_stopped(asha):
    report(asha, add(asha, "a", 100), 6, 0.9)
    assert report(asha, add(asha, "b", 100), 6, 0.1) == "CONTINUE"
    assert asha.stopped == set()


def test_rungs_are_filled_from_an_earlier_run(asha):
    asha.tell(100, "earlier", {1: 0.5, 2: 0.9})
    assert report(asha, add(asha, "new", 100), 2, 0.5) == "STOP"
    assert report(asha, add(asha, "other", 25), 2, 0.5) == "CONTINUE"


def test_a_resumed_trial_is_judged_once_at_a_rung(asha):
    asha.tell(100, "rival", {2: 0.9})
    asha.tell(100, "again", {1: 0.2, 2: 0.3})
    config = {"trial": "again", "data.subset": 100}
    again = SimpleNamespace(trial_id="another id of Tune's", config=config)
    asha.on_trial_add(None, again)
    assert report(asha, again, 3, 0.1) == "CONTINUE", "it passed the rung of epoch 2 before"
    assert report(asha, add(asha, "new", 100), 3, 0.1) == "STOP"


def test_ending_a_trial_in_any_order_is_no_error(asha):
    trial = add(asha, "a", 100)
    asha.on_trial_complete(None, trial, {})
    asha.on_trial_remove(None, trial)
    asha.on_trial_error(None, trial)
    assert report(asha, add(asha, "a", 100), 1, 0.5) == "CONTINUE"  # taken up again


def test_tunes_snapshots_are_empty(asha):
    assert copy.deepcopy(asha) is asha
    assert vars(pickle.loads(pickle.dumps(asha))) == {}  # noqa: S301 (just written)
