"""Metrics of logits against values worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from focusnet.training.metrics import (
    calibration_error,
    confusion_matrix,
    evaluate_logits,
    log_loss,
    macro_accuracy,
)


def logits_of(predictions, n_classes, confidence=0.9):
    """Logits whose softmax gives ``confidence`` to the prediction and equal rest to the others."""
    p = np.full((len(predictions), n_classes), (1 - confidence) / (n_classes - 1))
    p[np.arange(len(predictions)), predictions] = confidence
    return np.log(p)


def test_macro_accuracy_counts_classes_equally_and_accuracy_counts_clips():
    labels = np.array([0, 0, 0, 0, 1, 2])
    logits = logits_of([0, 0, 0, 1, 1, 0], 3)
    metrics = evaluate_logits(logits, labels, np.array(list("aaabbs"), object), ["x", "y", "z"])
    assert metrics["macro_accuracy"] == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert [metrics[f"class/{c}"] for c in "xyz"] == [0.75, 1.0, 0.0]


def test_devices_and_groups_are_accuracies_over_their_clips():
    labels = np.zeros(5, int)
    devices = np.array(["a", "b", "s1", "s5", "phone"], dtype=object)
    metrics = evaluate_logits(logits_of([0, 1, 0, 1, 0], 2), labels, devices, ["x", "y"])
    assert metrics["device/a"] == 1.0
    assert metrics["device/b"] == 0.0
    assert metrics["group/real"] == 0.5
    assert metrics["group/seen"] == 1.0
    assert metrics["group/unseen"] == 0.0
    assert metrics["device/phone"] == 1.0
    assert "class/y" not in metrics, "a class without clips has no accuracy"


def test_a_class_without_clips_does_not_count_in_the_macro_accuracy():
    assert macro_accuracy(logits_of([0, 1], 3), np.array([0, 1])) == 1.0


def test_log_loss_is_the_mean_negative_log_probability_of_the_label():
    logits = logits_of([0, 1], 4, confidence=0.7)
    assert log_loss(logits, np.array([0, 0])) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    # 10 clips at confidence 0.9, 6 of them right: a gap of 0.3, in one bin.
    labels = np.zeros(10, int)
    logits = logits_of([0] * 6 + [1] * 4, 3)
    assert calibration_error(logits, labels) == pytest.approx(0.3)
    # Right and wrong bins do not cancel: 0.1 under in one, 0.9 over in the other.
    two = np.concatenate([logits_of([0] * 5, 3), logits_of([1] * 5, 3, confidence=0.98)])
    assert calibration_error(two, labels) == pytest.approx((5 * 0.1 + 5 * 0.98) / 10)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_the_confusion_matrix_counts_every_clip_once(pairs):
    labels, predictions = (np.array(part) for part in zip(*pairs, strict=True))
    confusion = confusion_matrix(labels, predictions, 5)
    assert confusion.sum() == len(pairs)
    for i, j in np.ndindex(5, 5):
        assert confusion[i, j] == pairs.count((i, j))
