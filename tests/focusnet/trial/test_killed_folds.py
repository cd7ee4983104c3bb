"""Templates of folds when their builder is killed (SIGKILL) and when trials share them."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from killed_processes import content, die_around, settings, start

import focusnet.training.loop
import focusnet.trial.cross_fitting
import focusnet.trial.template_training
from focusnet.pipeline import TrialResult, run_trial

pytestmark = pytest.mark.slow

# What is killed, at which of its calls, before or after it. The template takes 15 steps and saves 3
# times, then each fold takes 9 steps and saves 3 times.
MOMENTS = {
    "fold 1, amid epoch 3": (focusnet.training.loop.Stage, "training_step", 15 + 8, False),
    "fold 2, epoch 2 written, not renamed": (torch, "save", 3 + 3 + 2, True),
    "fold 2, not complete": (focusnet.trial.template_training, "write_stage", 3, True),
    "between the folds": (focusnet.trial.cross_fitting, "align_logits", 1, False),
}


def cross_fitted(root: Path, cache: Path) -> dict:
    focus = {"template_logits": "cross_fitted", "folds": 2}
    return settings(root, cache) | {"focus": focus}


@pytest.fixture(scope="module")
def uninterrupted(tiny_dataset: Path, tmp_path_factory) -> tuple[tuple, Path]:
    """Results of a trial that is not killed, and a cache with nothing but its audio."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = run_trial(cross_fitted(tiny_dataset, folder / "cache"), folder / "out")
    shutil.rmtree(folder / "cache" / "templates")
    return content(result, folder / "out"), folder / "cache"


@pytest.fixture
def trial(tiny_dataset: Path, uninterrupted, tmp_path: Path) -> dict:
    """The settings of that trial with a cache of its own."""
    shutil.copytree(uninterrupted[1], tmp_path / "cache")
    return cross_fitted(tiny_dataset, tmp_path / "cache")


def run_and_die(trial: dict, out: Path, moment: str) -> None:
    """What a process runs that is killed at one of ``MOMENTS``."""
    die_around(*MOMENTS[moment])
    run_trial(trial, out)


def kill_at(moment: str, trial: dict, out: Path) -> None:
    process = start(run_and_die, trial, out, moment)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_trial_killed_in_its_folds_resumes_to_the_same_result(
    moment, trial, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    kill_at(moment, trial, out)
    before = (out / "trial.log").read_text()
    assert content(run_trial(trial, out), out) == uninterrupted[0]
    log = (out / "trial.log").read_text()[len(before) :]
    assert ("training fold 1 of 2" in log) == ("fold 1" in moment)
    assert ("fold 1 of 2: resumes after epoch 2" in log) == ("fold 1" in moment)
    assert ("fold 2 of 2: resumes after epoch" in log) == ("fold 2" in moment)
    left = {path.name for path in (*out.rglob("*"), *(tmp_path / "cache").rglob("*"))}
    assert not {name for name in left if "checkpoint" in name or "building" in name}


def test_another_trial_takes_over_from_the_killed_builder_of_a_fold(trial, uninterrupted, tmp_path):
    kill_at("fold 1, amid epoch 3", trial, tmp_path / "killed")
    result = run_trial(trial, tmp_path / "out")
    assert "fold 1 of 2: resumes after epoch 2" in (tmp_path / "out" / "trial.log").read_text()
    metrics, _, predictions, weights, reused, _ = content(result, tmp_path / "out")
    assert (metrics, predictions, weights) == tuple(uninterrupted[0][i] for i in (0, 2, 3))
    assert reused, "the template itself was complete"


def test_trials_side_by_side_train_each_fold_once(trial, uninterrupted, tmp_path):
    outs = [tmp_path / "first", tmp_path / "second"]
    processes = [start(run_trial, trial, out) for out in outs]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    logs = [(out / "trial.log").read_text() for out in outs]
    for fold in ("training fold 1 of 2", "training fold 2 of 2"):
        assert sum(log.count(fold) for log in logs) == 1
    for out in outs:
        result = TrialResult(**json.loads((out / "result.json").read_text()))
        assert content(result, out)[:4] == uninterrupted[0][:4]


def test_a_trial_can_be_stopped_after_any_epoch_of_a_fold_and_says_where_it_is(
    trial, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    heard: list[str] = []

    at = "training fold {} of 2 on 20 of 40 clips".format

    def stop_in_fold_2(now_at: str) -> None:
        heard.append(now_at)
        if heard.count(at(2)) == 3:  # at its start, after epoch 1, after epoch 2
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(trial, out, while_waiting=stop_in_fold_2)
    assert heard == [at(1)] * 4 + [at(2)] * 3
    assert json.loads((out / "waiting.json").read_text())["at"] == at(2)
    assert content(run_trial(trial, out), out) == uninterrupted[0]
    assert "fold 2 of 2: resumes after epoch 2" in (out / "trial.log").read_text()
    assert not (out / "waiting.json").exists()
