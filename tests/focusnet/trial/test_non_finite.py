"""A non-finite loss: as many retries as the user allows, and then a clear failure."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch

import focusnet.trial.stage_training
from focusnet.errors import TrainingError
from focusnet.pipeline import run_trial
from focusnet.training.objectives import CrossEntropy

pytestmark = pytest.mark.slow

BATCHES = 5  # an epoch: 40 clips, 8 at a time


@pytest.fixture
def spoil(monkeypatch):
    """Make the template's loss of the given calls (from 1) not finite; what counts the calls."""
    original = CrossEntropy.forward

    def after(*numbers: int) -> list[int]:
        calls = [0]

        def forward(self, logits, batch, spec):
            calls[0] += 1
            terms = original(self, logits, batch, spec)
            if not numbers or calls[0] in numbers:
                terms = terms | {"loss": terms["loss"] * float("nan")}
            return terms

        monkeypatch.setattr(CrossEntropy, "forward", forward)
        return calls

    return after


@pytest.fixture
def run(tiny_dataset: Path, tmp_path: Path):
    """Run a trial in a folder and with a cache of its own; its epochs, its key."""

    def trial(name: str, report=None, **compute):
        settings = {
            "data": {"root": str(tiny_dataset), "cache": str(tmp_path / "cache")},
            "augment": {"freq_mask": 16, "roll": 4000, "patchout_freq": 2},
            "model": {"size": "tiny", "weights": "none", "max_frames": 200},
            "template": {"epochs": 3, "batch_size": 8, "lr": 1e-3, "keep": "best", "reuse": False},
            "focus": {"epochs": 1},
            "compute": {"device": "cpu", "checkpoint_seconds": 0, **compute},
        }
        result = run_trial(settings, tmp_path / name, report)
        lines = (tmp_path / name / "epochs.jsonl").read_text().splitlines()
        epochs = [json.loads(line) for line in lines]
        for record in epochs:
            del record["seconds"]
        return epochs, result.template_key

    return trial


def test_a_stage_is_retried_from_its_last_good_epoch_with_other_random_numbers(run, spoil):
    spoil(10**9)
    uninterrupted, key = run("uninterrupted")
    assert run("allowed", non_finite_retries=3) == (uninterrupted, key)
    spoil(BATCHES + 2)
    with pytest.raises(TrainingError, match="became nan in epoch 2; a smaller") as error:
        run("refused")
    assert "tried again" not in str(error.value)

    ways = []
    for every in (1, 2, 0):
        calls = spoil(BATCHES + 2)
        ways.append(run(f"every-{every}", checkpoint_epochs=every, non_finite_retries=1))
        assert calls[0] == 4 * BATCHES
    assert ways[1:] == ways[:1] * 2, "one seed, one result, however often it saves"
    epochs, with_retry = ways[0]
    assert with_retry == key
    names = [(record["stage"], record["epoch"]) for record in epochs]
    assert names == [("template", 1), ("template", 2), ("template", 3), ("focus", 1)]
    assert epochs[0] == uninterrupted[0]
    assert epochs[1]["template/train/loss"] != uninterrupted[1]["template/train/loss"]
    assert [record.get("non_finite_retries") for record in epochs] == [None, 1, 1, None]


def test_the_first_epoch_is_tried_again_from_the_initial_weights(run, spoil, monkeypatch):
    seen = []
    original = focusnet.trial.stage_training.train_stage

    def look(model, *given, done, **named):
        seen.append((done, {k: v.clone() for k, v in model.state_dict().items()}))
        return original(model, *given, done=done, **named)

    monkeypatch.setattr(focusnet.trial.stage_training, "train_stage", look)
    spoil(1)  # the step makes all weights nan
    run("out", non_finite_retries=1)
    (first, fresh), (second, again), _ = seen
    assert first == second == 0
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)


def test_each_retry_starts_from_the_unchanged_state_of_the_good_epoch(run, spoil, monkeypatch):
    """Also the optimizer's, although the retry before has changed it in place."""
    seen = []
    original = focusnet.trial.stage_training.train_stage

    def look(model, *given, optimizer_state, **named):
        seen.append(deepcopy(optimizer_state))
        return original(model, *given, optimizer_state=optimizer_state, **named)

    monkeypatch.setattr(focusnet.trial.stage_training, "train_stage", look)
    spoil(BATCHES + 2, BATCHES + 2 + BATCHES)
    run("out", non_finite_retries=2)
    _, first, second, _ = seen
    for name, value in first["state"][0].items():
        assert torch.equal(value, second["state"][0][name])


def test_after_the_last_retry_the_message_says_how_often_it_was_tried(run, spoil, tmp_path):
    calls = spoil()
    with pytest.raises(TrainingError, match=r"nan in epoch 1;.* \(tried again 2 times from the"):
        run("out", non_finite_retries=2)
    assert calls[0] == 3 * BATCHES
    assert not list((tmp_path / "out").rglob("checkpoint.pt"))


def test_a_trial_that_died_after_a_retry_resumes_with_its_random_numbers_and_its_count(run, spoil):
    spoil(BATCHES + 2)
    expected = run("uninterrupted", non_finite_retries=1)

    def die(record: dict) -> None:
        if record["epoch"] == 2:
            raise SystemExit

    spoil(BATCHES + 2)
    with pytest.raises(SystemExit):
        run("out", die, non_finite_retries=1)
    calls = spoil(10**9)
    assert run("out", non_finite_retries=1) == expected
    assert calls[0] == BATCHES

    spoil(BATCHES + 2)
    with pytest.raises(SystemExit):
        run("other", die, non_finite_retries=1)
    spoil(1)
    with pytest.raises(TrainingError, match=r"nan in epoch 3;.* \(tried again once"):
        run("other", non_finite_retries=1)


def test_an_epoch_whose_last_step_spoils_the_weights_is_not_good(run, monkeypatch):
    original = torch.optim.Adam.step
    steps = [0]

    def step(self, closure=None):
        loss = original(self, closure)
        steps[0] += 1
        if steps[0] == BATCHES:
            with torch.no_grad():
                self.param_groups[0]["params"][0].view(-1)[0] = float("inf")
        return loss

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(TrainingError, match="weights are not finite after epoch 1"):
        run("out")
