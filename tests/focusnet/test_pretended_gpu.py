"""A training step as a GPU would see it, on a machine without one."""

from itertools import product

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor

from focusnet.augment import DeviceImpulseResponses
from focusnet.batches import ClipBatches
from focusnet.config import ModelConfig
from focusnet.loss import FocusNetLoss
from focusnet.mel import LogMel
from focusnet.model import build_model
from focusnet.objective import CrossEntropy, Distillation, FocusObjective
from focusnet.resident import Resident
from focusnet.training import Augmentation, Stage, autocast
from tests.focusnet.pretend_gpu import pretend_gpu

RATE, BATCH, CLASSES = 8000, 6, 10
CLIPS = 2 * BATCH


@pytest.fixture
def gpu(monkeypatch):
    with pretend_gpu(monkeypatch) as device:
        yield device


def tiny():
    model = build_model(
        ModelConfig(size="tiny", weights="none"),
        CLASSES,
        class_tokens_only=True,
        patchout_freq=2,
        patchout_time=1,
        time_offset=True,
    )
    model.generator = torch.Generator().manual_seed(0)
    return model


def batches(gpu, resident):
    rng = np.random.default_rng(0)
    samples = rng.integers(-3000, 3000, (CLIPS, RATE), dtype=np.int16)
    made = ClipBatches(
        samples,
        1 / 32768,
        np.arange(CLIPS),
        np.arange(CLIPS) % CLASSES,
        batch_size=BATCH,
        generator=torch.Generator().manual_seed(0),
        eligible_for_dir=np.arange(CLIPS) % 3 > 0,
        template_logits=rng.standard_normal((CLIPS, CLASSES), dtype=np.float32),
    )
    if resident:
        made.resident = Resident(samples, np.arange(CLIPS), gpu)
    return made


def stage_with(objective, gpu):
    noise = torch.randn(3, 400, generator=torch.Generator().manual_seed(1))
    return Stage(
        tiny().to(gpu).train(),
        LogMel(sample_rate=RATE, fmax_aug_range=500).to(gpu).train(),
        objective,
        Augmentation(
            responses=DeviceImpulseResponses(noise, RATE).to(gpu),
            dir_probability=0.9,
            roll_samples=1000,
            mixstyle_probability=1.0,
            mixstyle_alpha=0.4,
        ),
        torch.Generator().manual_seed(0),
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        lr_factor=lambda epoch: 1.0,
        on_epoch=lambda epoch, means, optimizer: None,
        done=0,
        optimizer_state=None,
    )


OBJECTIVES = {
    "cross-entropy": lambda gpu: CrossEntropy(0.1),
    "distillation": lambda gpu: Distillation(2.0, 0.5),
    "FocusNet": lambda gpu: FocusObjective(FocusNetLoss()),
    "FocusNet, online": lambda gpu: FocusObjective(FocusNetLoss(), tiny().to(gpu)),
}


@pytest.mark.parametrize(
    ("name", "precision", "resident"), [*product(OBJECTIVES, ["fp32", "bf16"], [False, True])]
)
def test_a_step_stays_on_the_gpu_and_asks_it_for_nothing(gpu, name, precision, resident):
    stage = stage_with(OBJECTIVES[name](gpu), gpu)
    optimizer = stage.make_optimizer()
    for index, batch in enumerate(batches(gpu, resident)):
        moved = stage.transfer_batch_to_device(batch, gpu, 0)
        with autocast(gpu, precision):
            loss = stage.training_step(moved, index)
        assert isinstance(loss, FakeTensor)
        assert (loss.device, loss.dtype, loss.shape) == (gpu, torch.float32, ())
        assert loss.requires_grad
        for value in stage.model.parameters():
            value.grad = torch.zeros_like(value)  # instead of a backward pass
        optimizer.step()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluation_stays_on_the_gpu_until_all_logits_are_there(gpu, precision):
    model, mel = tiny().to(gpu).eval(), LogMel(sample_rate=RATE).to(gpu).eval()
    parts = []
    with torch.no_grad(), autocast(gpu, precision):
        for batch in batches(gpu, resident=True):
            parts.append(model(mel(batch.to(gpu).clips.gather()).unsqueeze(1))[0].float())
    assert torch.cat(parts).shape == (CLIPS, CLASSES)
    assert torch.cat(parts).device == gpu


def test_a_look_at_the_gpu_would_be_seen(gpu):
    loss = torch.zeros(3, device=gpu).sum()
    with pytest.raises(DataDependentOutputException):
        loss.item()
    with pytest.raises(DataDependentOutputException):
        bool(loss.isfinite())


def test_two_devices_in_one_operation_would_be_seen(gpu):
    with pytest.raises(RuntimeError, match="two different devices"):
        torch.zeros(3, device=gpu) + torch.zeros(3)


def test_what_is_on_the_cpu_is_real(gpu):
    assert (torch.ones(3) + 1).tolist() == [2, 2, 2]
