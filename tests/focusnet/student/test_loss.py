"""The student's loss, compared with a float64 reference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from focusnet.loss import distillation_loss
from focusnet.student import student_loss
from focusnet.training.batches import Batch, Clips
from focusnet.training.objectives import FieldDistillation

LABELS = torch.tensor([0, 2, 3, 1, 1])


def logits(seed, dtype=torch.float64):
    return 3 * torch.randn(5, 4, generator=Generator().manual_seed(seed), dtype=dtype)


def reference(student, teacher, labels, label_weight, teacher_weight, temperature):
    """The equation in NumPy, term by term."""

    def log_softmax(values):
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    cross_entropy = -log_softmax(student)[np.arange(len(labels)), labels].mean()
    soft, target = log_softmax(student / temperature), log_softmax(teacher / temperature)
    divergence = (np.exp(target) * (target - soft)).mean()
    return label_weight * cross_entropy + teacher_weight * temperature**2 * divergence


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0.5, 8), st.integers(0, 1000))
def test_the_loss_equals_the_equation(label_weight, teacher_weight, temperature, seed):
    student, teacher = logits(seed), logits(seed + 1)
    found = student_loss(student, teacher, LABELS, label_weight, teacher_weight, temperature)
    expected = reference(
        student.numpy(), teacher.numpy(), LABELS.numpy(), label_weight, teacher_weight, temperature
    )
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_defaults_are_the_published_weights_and_temperature():
    student, teacher = logits(0), logits(1)
    found = student_loss(student, teacher, LABELS)
    expected = reference(student.numpy(), teacher.numpy(), LABELS.numpy(), 0.02, 0.98, 2.0)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_a_weight_of_the_usual_form_counts_once_for_each_class():
    student, teacher = logits(0), logits(1)
    usual = distillation_loss(student, teacher, 2.0)
    assert student_loss(student, teacher, LABELS, 0.0, 1.0).item() == pytest.approx(
        usual.item() / 4
    )


def test_the_objective_that_trains_on_stored_logits_is_this_loss():
    student, teacher = logits(0), logits(1)
    clips = Clips(np.empty((5, 1), np.float32), 1.0, np.arange(5))
    batch = Batch(clips, LABELS, torch.zeros(5, dtype=torch.bool), teacher)
    terms = FieldDistillation(3.0, 0.1, 0.7)(student, batch, torch.empty(0))
    assert terms["loss"].item() == pytest.approx(
        student_loss(student, teacher, LABELS, 0.1, 0.7, 3.0).item(), rel=1e-12
    )


def test_gradients_are_those_of_finite_differences():
    student = logits(0).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: student_loss(x, logits(1), LABELS), student)


def test_no_gradient_flows_into_the_teacher():
    student, teacher = logits(0).requires_grad_(True), logits(1).requires_grad_(True)
    student_loss(student, teacher, LABELS).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student = logits(0).to(dtype)
    found = student_loss(student, logits(1).float(), LABELS)
    assert found.dtype == torch.float32
    assert found.item() == student_loss(student.float(), logits(1).float(), LABELS).item()
