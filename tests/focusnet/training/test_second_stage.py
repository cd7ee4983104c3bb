"""The controls: same template and budget, another second stage."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from focusnet.config import DistillationConfig, FocusConfig, TrialConfig
from focusnet.errors import ConfigError
from focusnet.system.validation import validate
from focusnet.training.batches import Batch
from focusnet.training.second_stage import (
    mask_statistics,
    second_stage_objective,
    shuffle_within_classes,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(labels, template_logits):
    return Batch(torch.zeros(len(labels), 1), labels, labels > 99, template_logits)


@pytest.fixture
def logits():
    return torch.randn(8, 10, generator=seeded(1))


@pytest.fixture
def batch():
    labels = torch.randint(10, (8,), generator=seeded(2))
    return batch_of(labels, torch.randn(8, 10, generator=seeded(3)))


def loss_of(arm, logits, batch, **settings):
    focus = FocusConfig(**settings)
    return second_stage_objective(arm, focus)(logits, batch, torch.zeros(1))["loss"].item()


def test_cross_entropy_again_is_the_templates_own_objective(logits, batch):
    expected = F.cross_entropy(logits, batch.labels).item()
    assert loss_of("cross_entropy", logits, batch, label_smoothing=0.3) == pytest.approx(expected)


def test_label_smoothing_has_the_smoothing_of_focusnet(logits, batch):
    log_p = F.log_softmax(logits, dim=1)
    own = log_p.gather(1, batch.labels[:, None]).squeeze(1)
    expected = -(0.9 * own + 0.1 * log_p.mean(1)).mean().item()
    assert loss_of("label_smoothing", logits, batch) == pytest.approx(expected, rel=1e-6)


def test_distillation_mixes_the_label_and_the_template_by_its_weight(logits, batch):
    p = F.softmax(batch.template_logits / 3, dim=1)
    taught = 9 * (p * (p.log() - F.log_softmax(logits / 3, dim=1))).sum(1).mean().item()
    label = F.cross_entropy(logits, batch.labels).item()
    for weight in (0.0, 0.25, 1.0):
        mixed = loss_of(
            "distillation", logits, batch, distillation={"temperature": 3.0, "weight": weight}
        )
        assert mixed == pytest.approx((1 - weight) * label + weight * taught, rel=1e-5)


def field_reference(logits, teacher, labels, label_weight, teacher_weight, temperature):
    """The field's distillation in float64, written out."""

    def log_softmax(z):
        z = z - z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    label = -log_softmax(logits)[np.arange(len(labels)), labels].mean()
    log_p, log_q = log_softmax(teacher / temperature), log_softmax(logits / temperature)
    taught = temperature**2 * (np.exp(log_p) * (log_p - log_q)).mean()
    return label_weight * label + teacher_weight * taught


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"temperature": 2.0}, (0.02, 0.98)),
        ({"temperature": 3.0, "label_weight": 0.5, "teacher_weight": 0.1}, (0.5, 0.1)),
        ({"temperature": 2.0, "weight": 0.9}, (0.02, 0.98)),  # of the usual form
    ],
)
def test_distillation_in_the_fields_form_averages_over_classes(logits, batch, settings, weights):
    z, t = (x.double() for x in (logits, batch.template_logits))
    focus = FocusConfig(distillation=DistillationConfig(form="field", **settings))
    objective = second_stage_objective("distillation", focus)
    exact = batch_of(batch.labels, t)
    loss = objective(z, exact, torch.zeros(1))["loss"].item()
    arrays = (x.numpy() for x in (z, t, batch.labels))
    expected = field_reference(*arrays, *weights, settings["temperature"])
    assert loss == pytest.approx(expected, rel=1e-12)
    assert objective(logits, batch, torch.zeros(1))["loss"].item() == pytest.approx(loss, rel=1e-5)
    logits_64 = z.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: objective(x, exact, torch.zeros(1))["loss"], logits_64
    )


def test_the_fields_form_is_the_usual_one_scaled(logits, batch):
    # As docs/method.md says: weight .83, times .118, with ten classes.
    weight = (0.98 / 10) / (0.02 + 0.98 / 10)
    assert weight == pytest.approx(0.83, abs=5e-3)
    field = loss_of("distillation", logits, batch, distillation={"form": "field"})
    usual = loss_of("distillation", logits, batch, distillation={"weight": weight})
    assert field == pytest.approx(0.118 * usual, rel=1e-5)


def test_the_placebo_minimises_focusnets_loss(logits, batch):
    settings = {"weight": 2.0, "threshold": 0.05}
    assert loss_of("placebo", logits, batch, **settings) == loss_of(
        "focusnet", logits, batch, **settings
    )


def test_the_reference_minimises_the_papers_loss_whatever_focus_says(logits, batch):
    searched = {"weight": 7.0, "threshold": 0.4, "temperature": 5.0, "entropy_weight": 0.0}
    p, q = F.softmax(logits, dim=1), F.softmax(batch.template_logits, dim=1)
    labels = F.one_hot(batch.labels, 10).float()
    mask = ((F.softmax(batch.template_logits / 2, dim=1) > 0.1) | (labels > 0)).float()
    mask /= mask.sum(1, keepdim=True)
    smoothed = 0.9 * labels + 0.1 / 10
    classification = -(smoothed * F.log_softmax(logits + p - q, dim=1)).sum(1).mean()
    attention = -(mask * p.log()).sum(1).mean()
    negentropy = (p * p.log()).sum(1).mean()
    expected = (classification + attention + negentropy).item()
    found = loss_of("reference", logits, batch, label_smoothing=0.3, **searched)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found != pytest.approx(loss_of("focusnet", logits, batch, **searched), rel=1e-2)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_a_placebo_keeps_the_masks_of_each_class_and_gives_none_to_its_own_clip(labels, seed):
    labels = np.array(labels)
    rows = np.arange(len(labels), dtype=np.float32)
    logits = np.stack([rows, -rows], axis=1)  # a clip's logits name the clip
    shuffled = shuffle_within_classes(logits, labels, seeded(seed))
    came_from = shuffled[:, 0].astype(int)
    assert sorted(came_from) == list(range(len(labels))), "every mask is used once"
    assert (labels[came_from] == labels).all(), "from a clip of the same class"
    for label in set(labels.tolist()):
        mine = np.flatnonzero(labels == label)
        assert len(mine) == 1 or (came_from[mine] != mine).all(), "a clip kept its own mask"


def test_a_placebo_has_the_mask_statistics_of_the_real_masks():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    logits = rng.normal(0, 2, (300, 10)).astype(np.float32)
    shuffled = shuffle_within_classes(logits, labels, seeded())
    assert not np.array_equal(shuffled, logits)
    real, placebo = (mask_statistics(each, labels, None, 2.0) for each in (logits, shuffled))
    assert placebo == pytest.approx(real)


def test_a_placebo_of_online_logits_is_refused():
    with pytest.raises(ConfigError, match="shuffles stored logits among clips"):
        validate(
            TrialConfig,
            {"data": {"root": "x"}, "arm": "placebo", "focus": {"template_logits": "online"}},
        )
