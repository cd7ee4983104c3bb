"""Training steps on a pretended GPU: devices match, and the CPU never waits."""

from itertools import product

import pytest
import torch
from pretend_gpu import pretend_gpu
from small_stage import BATCH, CLASSES, batches, front_end, stage_on, tiny
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor

from focusnet.loss import FocusNetLoss
from focusnet.system.precision import autocast
from focusnet.training.objectives import CrossEntropy, Distillation, FocusObjective
from focusnet.training.recorded_steps import RecordedSteps

CLIPS = 2 * BATCH


@pytest.fixture
def gpu(monkeypatch):
    with pretend_gpu(monkeypatch) as device:
        yield device


OBJECTIVES = {
    "cross-entropy": lambda gpu: CrossEntropy(0.1),
    "distillation": lambda gpu: Distillation(2.0, 0.5),
    "FocusNet": lambda gpu: FocusObjective(FocusNetLoss()),
    "FocusNet, online": lambda gpu: FocusObjective(FocusNetLoss(), tiny().to(gpu)),
}


@pytest.mark.parametrize(
    ("name", "precision", "cached"), [*product(OBJECTIVES, ["fp32", "bf16"], [False, True])]
)
def test_a_step_stays_on_the_gpu_and_reads_nothing_from_it(gpu, name, precision, cached):
    stage = stage_on(gpu, OBJECTIVES[name](gpu))
    optimizer = stage.make_optimizer()
    for index, batch in enumerate(batches(2, gpu if cached else None)):
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
    model, mel = tiny().to(gpu).eval(), front_end().to(gpu).eval()
    parts = []
    with torch.no_grad(), autocast(gpu, precision):
        for batch in batches(2, gpu):
            parts.append(model(mel(batch.to(gpu).clips.gather()).unsqueeze(1))[0].float())
    assert torch.cat(parts).shape == (CLIPS, CLASSES)
    assert torch.cat(parts).device == gpu


def test_a_recording_that_runs_out_of_memory_says_so(gpu, monkeypatch):
    def full(*args, **options):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr("torch.cuda.make_graphed_callables", full)
    network = tiny().to(gpu).train()
    with pytest.raises(torch.OutOfMemoryError):
        RecordedSteps(network)(torch.empty(BATCH, 1, 128, 100, device=gpu))


def test_reading_a_value_from_the_gpu_would_be_noticed(gpu):
    loss = torch.zeros(3, device=gpu).sum()
    with pytest.raises(DataDependentOutputException):
        loss.item()
    with pytest.raises(DataDependentOutputException):
        bool(loss.isfinite())


def test_two_devices_in_one_operation_would_be_noticed(gpu):
    with pytest.raises(RuntimeError, match="two different devices"):
        torch.zeros(3, device=gpu) + torch.zeros(3)


def test_tensors_on_the_cpu_are_real(gpu):
    assert (torch.ones(3) + 1).tolist() == [2, 2, 2]
