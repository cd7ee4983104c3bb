"""Trials whose processes are killed (SIGKILL) resume to the same results, to the bit."""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from killed_processes import (
    EPOCHS,
    content,
    die_around,
    settings,
    start,
    tell,
    told,
    wait_until,
)

import focusnet.pipeline
import focusnet.training.checkpoint
import focusnet.training.loop
import focusnet.trial.template_training
from focusnet.errors import ReportNotDelivered, TrainingError
from focusnet.pipeline import TrialResult, run_trial
from focusnet.trial.folder import TrialFolder
from focusnet.trial.reporter import Reporter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(tiny_dataset: Path, tmp_path_factory) -> tuple[tuple, Path]:
    """Results of a trial that is not killed, and a cache with nothing but its audio."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = run_trial(settings(tiny_dataset, folder / "cache"), folder / "out")
    expected = content(result, folder / "out")
    shutil.rmtree(folder / "cache" / "templates")
    return expected, folder / "cache"


@pytest.fixture
def trial(tiny_dataset: Path, uninterrupted, tmp_path: Path) -> dict:
    """The settings of that trial with a cache of its own."""
    shutil.copytree(uninterrupted[1], tmp_path / "cache")
    return settings(tiny_dataset, tmp_path / "cache")


def run_and_die(trial: dict, out: Path, moment: str) -> None:
    """What a process runs that is killed at one of ``MOMENTS``."""
    die_around(*MOMENTS[moment][:4])
    run_trial(trial, out, teller(out))


def kill_at(moment: str, trial: dict, out: Path) -> None:
    """Run a trial in a process that is killed at a moment."""
    process = start(run_and_die, trial, out, moment)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "result.json").exists()


def teller(out: Path) -> Callable[[dict], None]:
    """A report that writes what it gets to a file that all processes of a trial share."""
    return partial(tell, out)


def pause_in_epoch_2(reached: Path, record: dict) -> None:
    """A report that never returns from the second epoch."""
    if record["epoch"] == 2:
        reached.touch()
        time.sleep(60)


ONCE = Counter(f"{stage} {e + 1}" for stage in ("template", "focus") for e in range(EPOCHS))

# Name of the moment: what is killed, at which of its calls, before or after it; what is told twice.
# Five batches an epoch; an epoch is told before its record; the last one of focus at the end.
MOMENTS = {
    "template, amid epoch 1": (focusnet.training.loop.Stage, "training_step", 3, False, ""),
    "template, amid epoch 3": (focusnet.training.loop.Stage, "training_step", 12, False, ""),
    "template, epoch 1 written, not renamed": (torch, "save", 1, True, ""),
    "template, epoch 2 written, not renamed": (torch, "save", 2, True, ""),
    "template, epoch 2 told, not recorded": (TrialFolder, "add", 2, False, ""),
    "template, not complete": (focusnet.trial.template_training, "write_stage", 1, True, ""),
    "focus, amid epoch 1": (focusnet.training.loop.Stage, "training_step", 17, False, ""),
    "focus, amid epoch 3": (focusnet.training.loop.Stage, "training_step", 28, False, ""),
    "focus, epoch 2 written, not renamed": (torch, "save", EPOCHS + 2, True, ""),
    "focus, epoch 2 saved, not told": (
        Reporter, "report_and_record", EPOCHS + 2, False, "",
    ),
    "focus, epoch 2 told, not recorded": (TrialFolder, "add", EPOCHS + 2, False, "focus 2"),
    "focus, last epoch recorded": (TrialFolder, "add", 2 * EPOCHS, True, ""),
    "focus, no result yet": (focusnet.pipeline, "write_json", 1, False, ""),
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_trial_resumes_to_the_same_result(moment, trial, uninterrupted, tmp_path):
    out = tmp_path / "out"
    kill_at(moment, trial, out)
    result = run_trial(trial, out, teller(out))
    assert content(result, out) == uninterrupted[0]
    twice = MOMENTS[moment][4]
    expected = ONCE + Counter([twice] if twice else [])
    if moment == "focus, epoch 2 saved, not told":
        assert "focus: resumes after epoch 2" in (out / "trial.log").read_text()
    if moment == "template, epoch 2 told, not recorded":
        assert "template: resumes after epoch 2" in (out / "trial.log").read_text()
    assert told(out) == expected
    left = {path.name for path in (*out.rglob("*"), *(tmp_path / "cache").rglob("*"))}
    assert not {name for name in left if "checkpoint" in name or "building" in name}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_trial_killed_many_times_resumes_to_the_same_result(seed, trial, uninterrupted, tmp_path):
    moments, out, kills = random.Random(seed), tmp_path / "out", 0
    while kills < 40:
        process = start(run_trial, trial, out)
        # Too short for a whole trial on any machine, then longer and longer, so that a busy one
        # gets through an epoch as well.
        process.join(moments.uniform(0.2, 1.2) * (1 + kills) / 5)
        if process.exitcode is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert process.exitcode == 0
    assert kills > 0
    result = TrialResult(**json.loads((out / "result.json").read_text()))
    assert content(result, out) == uninterrupted[0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_trial_as_other_programs_and_the_trial_resumes(
    number, status, trial, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    process = start(run_until_signal, trial, out, number)
    process.join(60)
    assert process.exitcode == status
    assert content(run_trial(trial, out), out) == uninterrupted[0]
    assert "template: resumes after epoch 2" in (out / "trial.log").read_text()


def run_until_signal(trial: dict, out: Path, number: int) -> None:
    """What a process runs that gets a signal in the second epoch."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        run_trial(trial, out, partial(signal_in_epoch_2, number))
    except KeyboardInterrupt:
        assert signal.getsignal(signal.SIGINT) == handler, "Ctrl-C works no more"
        sys.exit(130)


def signal_in_epoch_2(number: int, record: dict) -> None:
    if record["epoch"] == 2:
        os.kill(os.getpid(), number)


def test_a_waiting_trial_resumes_the_template_of_a_killed_builder(trial, uninterrupted, tmp_path):
    reached = tmp_path / "reached"
    builder = start(run_trial, trial, tmp_path / "a", partial(pause_in_epoch_2, reached))
    wait_until(reached.exists)
    waiter = start(run_trial, trial, tmp_path / "b", teller(tmp_path / "b"))
    log = tmp_path / "b" / "trial.log"
    wait_until(lambda: log.exists() and "waiting for template" in log.read_text())
    os.kill(builder.pid, signal.SIGKILL)
    builder.join()
    waiter.join(60)
    assert waiter.exitcode == 0
    assert "template: resumes after epoch 2" in log.read_text()
    result = TrialResult(**json.loads((tmp_path / "b" / "result.json").read_text()))
    assert content(result, tmp_path / "b") == uninterrupted[0]
    assert told(tmp_path / "b") == Counter(["template 3", "focus 1", "focus 2", "focus 3"])


def test_two_studies_that_share_a_store_train_a_template_once_and_do_not_collide(
    trial, uninterrupted, tmp_path
):
    outs = [tmp_path / study / "trials" / "one" / "out" for study in ("first", "second")]
    for out in outs:
        out.parent.mkdir(parents=True)
    processes = [start(run_trial, trial, out, teller(out)) for out in outs]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    both = sum((told(out) for out in outs), Counter())
    assert both == ONCE + Counter({name: 1 for name in ONCE if name.startswith("focus")})
    reused = []
    for out in outs:
        result = TrialResult(**json.loads((out / "result.json").read_text()))
        got = content(result, out)
        assert got[:4] == uninterrupted[0][:4]
        reused.append(result.template_reused)
    assert sorted(reused) == [False, True]


def test_a_checkpoint_of_other_settings_is_not_used(trial, uninterrupted, tmp_path):
    def stop(record: dict) -> None:
        if (record["stage"], record["epoch"]) == ("focus", 2):
            raise SystemExit

    out = tmp_path / "out"
    other = trial | {"focus": {"weight": 5.0}}
    with pytest.raises(SystemExit):
        run_trial(other, out, stop)
    assert (out / focusnet.training.checkpoint.CHECKPOINT).exists()
    result = run_trial(trial, out)
    assert content(result, out)[:4] == uninterrupted[0][:4]
    assert "checkpoint.pt is of other settings and not used" in (out / "trial.log").read_text()


@pytest.mark.parametrize(("kind", "again"), [(SystemExit, 0), (ReportNotDelivered, 1)])
def test_an_epoch_whose_report_was_not_delivered_is_reported_again(
    kind, again, trial, uninterrupted, tmp_path
):
    def stop(record: dict) -> None:
        if (record["stage"], record["epoch"]) == ("focus", 2):
            raise kind

    out = tmp_path / "out"
    with pytest.raises(kind):
        run_trial(trial, out, stop)
    recorded = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    assert sum(record["stage"] == "focus" for record in recorded) == 2 - again
    assert content(run_trial(trial, out, teller(out)), out) == uninterrupted[0]
    assert told(out)["focus 2"] == again
    assert told(out)["focus 1"] == 0


def test_a_non_finite_loss_leaves_no_checkpoint(trial, tmp_path, monkeypatch):
    kill_at("template, amid epoch 3", trial, tmp_path / "out")
    (left,) = (tmp_path / "cache" / "templates").glob("*.building")
    assert (left / focusnet.training.checkpoint.CHECKPOINT).exists()
    monkeypatch.setattr(
        focusnet.trial.template_training.CrossEntropy,
        "forward",
        lambda self, logits, batch, spec: {"loss": logits.sum() * float("nan")},
    )
    with pytest.raises(TrainingError, match="became nan in epoch 3"):
        run_trial(trial, tmp_path / "out")
    assert not left.exists()


@pytest.mark.parametrize(
    "seldom", [{"checkpoint_epochs": 0}, {"checkpoint_epochs": 2}, {"checkpoint_seconds": 3600}]
)
@pytest.mark.parametrize("moment", ["template, amid epoch 3", "focus, amid epoch 3"])
def test_where_checkpoints_are_seldom_no_epoch_is_told_twice(
    moment, seldom, trial, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    trial = trial | {"compute": trial["compute"] | seldom}
    kill_at(moment, trial, out)
    before = told(out)
    assert before[f"{moment.split(',')[0]} 2"] == 1
    assert content(run_trial(trial, out, teller(out)), out) == uninterrupted[0]
    assert told(out) == ONCE
