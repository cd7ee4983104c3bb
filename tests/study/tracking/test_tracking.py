"""Trackers get each epoch of each trial once, and never stop a study."""

import importlib.util
import json
import logging
import time
from dataclasses import replace

import pytest

from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial
from study.tracking.runs import SentRecord, tracked_run
from study.tracking.sender import Tracking
from study.tracking.start import check_trackers

TRACKERS = (("tracking",), {"wandb": {"project": "asc"}, "mlflow": {}, "trackio": {"project": "a"}})


class Memory:
    """A tracker that remembers, across runs of the study."""

    destination = "memory"

    def __init__(self, runs, fail=lambda: False):
        self.runs, self.fail = runs, fail

    def send(self, run, first):
        if self.fail():
            raise ConnectionError("no route to host")
        self.runs.setdefault(run.trial, []).extend(
            step["focus/epoch"] for step in run.steps[first:]
        )

    def end(self, run):
        self.runs[run.trial].append(run.status)

    def close(self):
        self.runs.setdefault("closed", []).append(True)


@pytest.fixture
def space(make_space):
    return make_space()


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {"data.subset": 25}))
    return ledger


def train(ledger, *epochs, ended=None):
    folder = ledger.trial_folder("a")
    lines = [
        {"stage": "focus", "epoch": e, "epochs": 9, "focus/select/accuracy": 0.1} for e in epochs
    ]
    (folder / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "started.json").write_text('{"attempts": 1, "at": "", "host": "", "pid": 1}')
    if ended:
        metrics = {"focus/report/accuracy": 0.5}
        (folder / "result.json").write_text(json.dumps({"metrics": metrics}))


def test_an_epoch_is_sent_once_over_all_runs_and_none_is_lost(space, ledger):
    runs = {}
    train(ledger, 1, 2)
    first = Tracking(space, ledger.folder, {"memory": lambda: Memory(runs)})
    first.changed("a")
    first.changed("a")
    first.close()
    assert runs["a"] == [1, 2]
    # The driver dies, and the trial goes on: nobody told the tracker of epoch 3.
    train(ledger, 1, 2, 3, 4, ended=True)
    second = Tracking(space, ledger.folder, {"memory": lambda: Memory(runs)})
    second.catch_up(ledger.trials())
    second.changed("a")
    second.close()
    assert runs["a"] == [1, 2, 3, 4, "finished"]
    third = Tracking(space, ledger.folder, {"memory": lambda: Memory(runs)})
    third.catch_up(ledger.trials())
    third.close()
    assert runs["a"] == [1, 2, 3, 4, "finished"]


def test_a_tracker_without_a_network_is_one_warning_and_gets_the_rest_later(space, ledger, caplog):
    caplog.set_level(logging.WARNING)
    runs, broken = {}, [True]
    train(ledger, 1)
    tracking = Tracking(space, ledger.folder, {"m": lambda: Memory(runs, lambda: broken[0])})
    for _ in range(3):
        tracking.changed("a")
        time.sleep(0.05)
    broken[0] = False
    train(ledger, 1, 2)
    tracking.changed("a")
    tracking.close()
    assert runs["a"] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "tracking m: no route to host; what it lacks is sent later"
    ]


def test_a_tracker_that_hangs_holds_up_neither_the_study_nor_the_others(
    space, ledger, caplog, monkeypatch
):
    monkeypatch.setattr("study.tracking.sender._LONGEST_END", 0.3)
    runs = {}
    train(ledger, 1)

    class Hanging(Memory):
        destination = "elsewhere"

        def send(self, run, first):
            time.sleep(60)

    makers = {"hanging": lambda: Hanging({}), "memory": lambda: Memory(runs)}
    tracking = Tracking(space, ledger.folder, makers)
    tracking.changed("a")
    began = time.monotonic()
    tracking.close()
    assert time.monotonic() - began < 10
    assert runs["a"] == [1]
    [record] = caplog.records
    assert record.getMessage().startswith("tracking hanging: does not answer; --resume sends")


def test_a_tracker_that_cannot_start_is_one_warning(space, ledger, caplog):
    def broken():
        raise RuntimeError("no key: wandb login\nmore")

    train(ledger, 1)
    tracking = Tracking(space, ledger.folder, {"wandb": broken})
    tracking.changed("a")
    tracking.close()
    assert [r.getMessage() for r in caplog.records] == [
        "tracking wandb: no key: wandb login; what it lacks is sent later"
    ]


def test_another_project_gets_everything_anew(tmp_path, space):
    one = SentRecord(tmp_path, "wandb a/b")
    run = tracked_run(space, replace(Trial("a", "focusnet", 25, 0, 0, {}), epochs=[STEP] * 3))
    one.add(run)
    assert SentRecord(tmp_path, "wandb a/b").steps("a") == 3
    assert SentRecord(tmp_path, "wandb a/c").steps("a") == 0


STEP = {"stage": "focus", "epoch": 2, "epochs": 9, "seconds": 4.0, "focus/train/loss": 1.5}


def test_a_run_is_a_trial_with_its_curves_and_group(space):
    trial = Trial(
        "a", "focusnet", 25, 0, 7, {"focus.weight": 2.0}, "finished", epochs=[STEP],
        result={"metrics": {"focus/report/accuracy": 0.4}},
    )  # fmt: skip
    run = tracked_run(space, trial)
    assert run.group == "small subset 25"
    assert run.config == {"arm": "focusnet", "seed": 7, "phase": "search", "focus.weight": 2.0}
    assert run.steps == [{"focus/epoch": 2.0, "focus/train/loss": 1.5}]
    assert run.summary == {"status": "finished", "focus/report/accuracy": 0.4}


def test_packages_that_are_missing_are_named_at_once(make_space, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        check_trackers(make_space(TRACKERS))
    assert raised.value.problems == [
        "tracking.wandb: needs the package wandb, which is not installed: pip install wandb",
        "tracking.mlflow: needs the package mlflow, which is not installed: "
        "pip install mlflow-skinny",
        "tracking.trackio: needs the package trackio, which is not installed: pip install trackio",
    ]
    check_trackers(make_space())


@pytest.mark.parametrize(
    ("tracking", "message"),
    [
        ({"wandb": {}}, r"tracking\.wandb\.project: .*"),
        ({"wandb": {"project": "a", "key": "b"}}, r"tracking\.wandb\.key: unknown key"),
        ({"mlflow": {"tracking_uri": "http://me:pw@host"}}, r"must not hold a password"),
        ({"wandbb": {"project": "a"}}, r"tracking\.wandbb: unknown key \(did you mean 'wandb'"),
    ],
)
def test_wrong_settings_are_one_message(make_space, tracking, message):
    with pytest.raises(ConfigError, match=message) as raised:
        make_space((("tracking",), tracking))
    assert len(raised.value.problems) == 1
    assert "pw" not in str(raised.value)


def test_the_recorded_space_keeps_trackers_and_a_resume_may_change_them(make_space):
    from study.plan.resume import changes
    from study.space.recorded import validate_recorded

    with_them, without = make_space(TRACKERS), make_space()
    assert validate_recorded(with_them.content(), "space.yaml").tracking == with_them.tracking
    assert changes(without.content(), with_them.content()) == []
    assert changes(with_them.content(), without.content()) == []
