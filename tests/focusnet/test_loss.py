"""The loss, compared with hand-worked values, an independent float64 reference and gradcheck."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from focusnet.loss import FocusNetLoss, confusion_mask, distillation_loss, warm_classes


def reference(z, t, y, weight, entropy_weight, threshold, temperature, smoothing):
    """The loss of the paper's code, clip by clip in NumPy; shares no code with ours."""
    n_classes = len(z[0])
    totals = np.zeros(4)
    for zi, ti, yi in zip(z, t, y, strict=True):
        p = np.exp(zi - zi.max()) / np.exp(zi - zi.max()).sum()
        q = np.exp(ti - ti.max()) / np.exp(ti - ti.max()).sum()
        shifted = zi + (p - q)
        log_shifted = shifted - shifted.max() - np.log(np.exp(shifted - shifted.max()).sum())
        target = np.full(n_classes, smoothing / n_classes)
        target[yi] += 1 - smoothing
        hot = ti / temperature
        hot = np.exp(hot - hot.max()) / np.exp(hot - hot.max()).sum()
        mask = (hot > threshold).astype(float)
        mask[yi] = 1.0
        mask /= mask.sum()
        log_p = zi - zi.max() - np.log(np.exp(zi - zi.max()).sum())
        classification = -(target * log_shifted).sum()
        attention = -(mask * log_p).sum()
        negentropy = (p * log_p).sum()
        total = classification + weight * attention + entropy_weight * negentropy
        totals += np.array([total, classification, attention, negentropy])
    return totals / len(z)


def random_batch(seed=0, batch=6, n_classes=10):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (batch, n_classes))
    t = rng.normal(0, 2, (batch, n_classes))
    return z, t, rng.integers(0, n_classes, batch)


def test_the_mask_of_a_hand_worked_clip_is_equal_over_warm_classes():
    # softmax(t / 2) of t = 2 ln [4, 3, 2, 1] is [.4, .3, .2, .1]; 1 / C = .25.
    t = 2 * torch.log(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    mask = confusion_mask(t, torch.tensor([3]))
    assert torch.allclose(mask, torch.tensor([[1 / 3, 1 / 3, 0.0, 1 / 3]]))


def test_a_probability_equal_to_the_threshold_is_not_warm():
    uniform = torch.zeros(1, 10, dtype=torch.float64)
    mask = confusion_mask(uniform, torch.tensor([2]))
    assert mask.tolist() == [[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]]


@given(
    arrays(np.float64, (4, 7), elements=st.floats(-50, 50)),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.floats(1e-3, 0.999),
    st.floats(0.1, 20),
)
@settings(max_examples=100, deadline=None)
def test_masks_sum_to_one_include_the_label_and_shrink_with_the_threshold(
    logits, labels, threshold, temperature
):
    t, y = torch.from_numpy(logits), torch.tensor(labels)
    mask = confusion_mask(t, y, threshold=threshold, temperature=temperature)
    assert torch.allclose(mask.sum(1), torch.ones(4, dtype=torch.float64))
    assert (mask.gather(1, y[:, None]) > 0).all()
    wider = warm_classes(t, y, threshold=threshold / 2, temperature=temperature)
    assert (wider | ~(mask > 0)).all(), "a lower threshold lost a warm class"


@pytest.mark.parametrize("threshold", [None, 0.02, 0.3])
@pytest.mark.parametrize(("weight", "entropy_weight"), [(1.0, 1.0), (0.3, 2.0), (0.0, 0.0)])
def test_all_terms_equal_an_independent_float64_reference(threshold, weight, entropy_weight):
    z, t, y = random_batch()
    loss = FocusNetLoss(weight, entropy_weight, threshold, temperature=2.0, label_smoothing=0.1)
    terms = loss(torch.from_numpy(z), torch.from_numpy(t), torch.from_numpy(y))
    expected = reference(z, t, y, weight, entropy_weight, threshold or 0.1, 2.0, 0.1)
    assert torch.allclose(torch.stack(tuple(terms)), torch.from_numpy(expected), rtol=1e-12)
    assert all(term.ndim == 0 for term in terms)
    assert terms._fields == ("total", "classification", "attention", "negentropy")


def test_gradients_agree_with_finite_differences_of_the_reference():
    z, t, y = random_batch(seed=1, batch=3, n_classes=5)
    logits = torch.from_numpy(z).requires_grad_()
    FocusNetLoss(0.7, 1.3)(logits, torch.from_numpy(t), torch.from_numpy(y)).total.backward()
    step = 1e-6
    for i, j in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[i, j] += step
        down[i, j] -= step
        rise = [reference(x, t, y, 0.7, 1.3, 0.2, 2.0, 0.1)[0] for x in (up, down)]
        assert logits.grad[i, j].item() == pytest.approx((rise[0] - rise[1]) / (2 * step), abs=1e-8)


def test_gradcheck_passes_because_p_minus_q_is_not_detached():
    z, t, y = random_batch(seed=2, batch=2, n_classes=4)
    logits = torch.from_numpy(z).requires_grad_()
    template, labels = torch.from_numpy(t), torch.from_numpy(y)
    assert torch.autograd.gradcheck(lambda x: FocusNetLoss()(x, template, labels)[0], logits)


def test_no_gradient_flows_into_the_template():
    z, t, y = (torch.from_numpy(part) for part in random_batch())
    t.requires_grad_()
    FocusNetLoss()(z.requires_grad_(), t, y).total.backward()
    assert t.grad is None


def test_the_loss_of_bf16_logits_is_computed_in_float32():
    z, t, y = (torch.from_numpy(part) for part in random_batch())
    total = FocusNetLoss()(z.bfloat16(), t.float(), y).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(FocusNetLoss()(z, t, y).total.item(), rel=0.02)


def test_distillation_of_two_classes_equals_the_value_worked_by_hand():
    # Teacher (T = 2) has softmax [.8, .2], student [.5, .5].
    teacher = torch.tensor([[2 * math.log(4.0), 0.0]], dtype=torch.float64)
    student = torch.zeros(1, 2, dtype=torch.float64)
    expected = 4 * (0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5))
    assert distillation_loss(student, teacher, 2.0).item() == pytest.approx(expected, rel=1e-12)


def test_distillation_is_zero_for_equal_distributions_and_averaged_over_the_batch():
    z, t, _ = (torch.from_numpy(part) for part in random_batch())
    assert distillation_loss(t + 3.0, t, 3.0).item() == pytest.approx(0, abs=1e-12)
    each = [distillation_loss(z[i : i + 1], t[i : i + 1], 3.0) for i in range(len(z))]
    assert min(each) > 0
    assert distillation_loss(z, t, 3.0).item() == pytest.approx(float(sum(each)) / len(z))
