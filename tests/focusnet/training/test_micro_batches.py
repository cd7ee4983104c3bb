"""Gradients of a batch that is computed in parts are those of the whole batch."""

import copy

import pytest
import torch
from small_stage import BATCH, augmentation, batches, front_end, tiny
from torch import Tensor

from focusnet.loss import FocusNetLoss
from focusnet.schedule import warmup_linear_down
from focusnet.training.loop import train_stage
from focusnet.training.micro_batches import backward_in_parts
from focusnet.training.objectives import CrossEntropy, Distillation, FocusObjective

CPU = torch.device("cpu")
OBJECTIVES = {
    "cross-entropy": lambda: CrossEntropy(0.1),
    "distillation": lambda: Distillation(2.0, 0.5),
    "FocusNet": lambda: FocusObjective(FocusNetLoss()),
    "FocusNet, online": lambda: FocusObjective(FocusNetLoss(), tiny()),
}


def train(micro_batch, *, objective="FocusNet", precision="fp32", resumed=None, by_step=False):
    """Three epochs of two batches and a half; returns what each epoch gave."""
    model, generator, order = tiny(), torch.Generator(), torch.Generator()
    generator.manual_seed(1)
    order.manual_seed(2)
    model.generator = generator
    given = batches(3)
    given.rows = given.rows[: 2 * BATCH + BATCH // 2]
    given.generator = order
    seen, done, optimizer_state = [], 0, None
    if resumed is not None:
        _, weights, optimizer_state, draws, orders = resumed
        done = 1
        model.load_state_dict(weights)
        generator.set_state(draws)
        order.set_state(orders)

    def on_epoch(epoch, means, optimizer):
        states = [copy.deepcopy(one) for one in (model.state_dict(), optimizer)]
        seen.append((means, *states, generator.get_state(), order.get_state()))

    schedule = warmup_linear_down(warmup=2, ramp_down_start=1, ramp_down_length=2, last_value=0.1)
    train_stage(
        model,
        front_end(),
        OBJECTIVES[objective](),
        given,
        augmentation(CPU),
        generator,
        epochs=3,
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        lr_factor=(lambda step: 1 / (1 + step)) if by_step else schedule,
        lr_by_step=by_step,
        device=CPU,
        precision=precision,
        on_epoch=on_epoch,
        done=done,
        optimizer_state=optimizer_state,
        micro_batch=micro_batch,
    )
    return seen


def assert_close(found, expected):
    """The same terms and learning rates; weights differ where Adam divides noise by itself."""
    for (means, _, optimizer, *_), (their_means, _, their_optimizer, *_) in zip(
        found, expected, strict=True
    ):
        assert means == pytest.approx(their_means, rel=2e-3, abs=2e-3)
        assert optimizer["param_groups"] == their_optimizer["param_groups"]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [1, 4, 6, 9])
def test_gradients_of_the_parts_add_up_to_those_of_the_batch(objective, size):
    network, minimised = tiny().double().train(), OBJECTIVES[objective]().double()
    draws = torch.Generator().manual_seed(0)
    spec = torch.randn(BATCH, 1, 128, 100, generator=draws, dtype=torch.float64)
    batch = next(iter(batches(1)))
    batch = batch._replace(template_logits=batch.template_logits.double())
    found = []
    for whole in (True, False):
        network.zero_grad()
        network.generator.manual_seed(3)
        if whole:
            terms = minimised(network(spec)[0], batch, spec)
            terms["loss"].backward()
        else:
            terms = backward_in_parts(network, minimised, batch, spec, size, Tensor.backward)
        values = {name: float(value.detach()) for name, value in terms.items()}
        gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        found.append((values, gradients))
    (terms, gradients), (their_terms, theirs) = found
    assert terms == pytest.approx(their_terms, rel=1e-6)
    assert gradients.keys() == theirs.keys()
    for name, value in gradients.items():
        # Cross-entropy is computed in fp32.
        assert (value - theirs[name]).norm() <= 1e-5 * theirs[name].norm() + 1e-7, name


@pytest.mark.parametrize("micro_batch", [1, 4])
def test_training_in_parts_gives_what_whole_batches_give(micro_batch):
    assert_close(train(micro_batch), train(None))


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.02)])
def test_it_does_so_in_half_precision(precision, tolerance):
    found, expected = train(4, precision=precision), train(None, precision=precision)
    for (means, *_), (their_means, *_) in zip(found, expected, strict=True):
        assert means["loss"] == pytest.approx(their_means["loss"], rel=tolerance)
    if precision == "fp16":
        assert found[-1][2]["loss_scale"] == expected[-1][2]["loss_scale"]


@pytest.mark.parametrize("by_step", [False, True])
def test_the_learning_rate_follows_its_schedule_also_after_a_resume(by_step):
    expected = train(None, by_step=by_step)
    whole = train(4, by_step=by_step)
    assert_close(whole, expected)
    for found, wanted in zip(train(4, by_step=by_step, resumed=whole[0]), whole[1:], strict=True):
        assert found[0] == wanted[0]
        assert found[2]["param_groups"] == wanted[2]["param_groups"]
        for name, value in found[1].items():
            assert torch.equal(value, wanted[1][name]), name
