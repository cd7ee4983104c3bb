"""Precisions: what is refused where, and that fp16 scales its loss and resumes with that scale."""

import copy

import pytest
import torch
from small_stage import augmentation, batches, front_end, tiny

from focusnet.errors import ConfigError
from focusnet.loss import FocusNetLoss
from focusnet.system.precision import use_precision
from focusnet.training.loop import train_stage
from focusnet.training.objectives import FocusObjective

CPU = torch.device("cpu")


def train(model, generator, batch_order, *, precision, done=0, optimizer_state=None, epochs=4):
    """Train on a CPU; returns what each epoch gave."""
    seen = []
    given = batches(3)
    given.generator = batch_order

    def on_epoch(epoch, means, optimizer):
        states = [copy.deepcopy(one) for one in (model.state_dict(), optimizer)]
        seen.append((means, *states, generator.get_state(), batch_order.get_state()))

    train_stage(
        model,
        front_end(),
        FocusObjective(FocusNetLoss()),
        given,
        augmentation(CPU),
        generator,
        epochs=epochs,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        lr_factor=lambda epoch: 1.0,
        device=CPU,
        precision=precision,
        on_epoch=on_epoch,
        done=done,
        optimizer_state=optimizer_state,
    )
    return seen


def fresh(precision, **options):
    model, generator, order = tiny(), torch.Generator().manual_seed(1), torch.Generator()
    model.generator = generator
    order.manual_seed(2)
    return train(model, generator, order, precision=precision, **options)


def test_fp16_scales_the_loss_and_trains_as_fp32_does():
    half, full = fresh("fp16"), fresh("fp32")
    assert half[0][2]["loss_scale"]["scale"] >= 1024
    assert "loss_scale" not in full[0][2]
    for (found, *_), (expected, *_) in zip(half, full, strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=0.02)


def test_a_stage_in_fp16_resumes_with_its_scale():
    whole = fresh("fp16")
    _, weights, optimizer, draws, order_state = whole[1]
    model, generator, order = tiny(), torch.Generator(), torch.Generator()
    model.load_state_dict(weights)
    model.generator = generator
    generator.set_state(draws)
    order.set_state(order_state)
    resumed = train(model, generator, order, precision="fp16", done=2, optimizer_state=optimizer)
    assert len(resumed) == 2
    for found, expected in zip(resumed, whole[2:], strict=True):
        assert found[0] == expected[0]
        assert found[2]["loss_scale"] == expected[2]["loss_scale"]
        for name, value in found[1].items():
            assert torch.equal(value, expected[1][name]), name


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_what_only_a_gpu_has_is_refused_on_a_cpu(precision):
    with pytest.raises(ConfigError, match=f"compute.precision: {precision} needs a GPU"):
        use_precision(precision, CPU)


def test_tf32_is_on_where_it_is_asked_for_and_refused_where_there_is_none(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    try:
        for capability, precision, on in [((9, 0), "tf32", True), ((9, 0), "bf16", False)]:
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
            use_precision(precision, gpu)
            assert torch.get_float32_matmul_precision() == ("high" if on else "highest")
            assert torch.backends.cudnn.allow_tf32 is on
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        with pytest.raises(ConfigError, match=r"tf32 needs a GPU .* Tesla T4; choose fp16 or fp32"):
            use_precision("tf32", gpu)
    finally:
        use_precision("fp32", CPU)
