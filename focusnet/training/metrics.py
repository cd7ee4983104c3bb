"""Computes the metrics that ASC papers and DCASE Task 1 report, from logits."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from focusnet.dataset.layout import device_group

CALIBRATION_BINS = 15


def confusion_matrix(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], n_classes: int
) -> NDArray[np.int64]:
    """Counts (C, C): row = scene of the clip, column = predicted scene."""
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def recall_by_class(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Accuracy of each class (C,); NaN for a class without clips."""
    clips = confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.diag(confusion) / clips


def macro_accuracy(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean accuracy of the classes that have clips: the field's primary metric."""
    predictions = logits.argmax(axis=1)
    return float(
        np.nanmean(recall_by_class(confusion_matrix(labels, predictions, logits.shape[1])))
    )


def log_loss(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood in nats."""
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    return float(-log_p[np.arange(len(labels)), labels].mean())


def calibration_error(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Expected calibration error: gap between confidence and accuracy, over 15 equal bins.

    Naeini et al., AAAI 2015; Guo et al., arXiv:1706.04599.
    """
    confidence = np.exp(log_softmax(logits.astype(np.float64), axis=1)).max(axis=1)
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - correct, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def evaluate_logits(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    clip_devices: NDArray[np.object_],
    classes: Sequence[str],
) -> dict[str, float]:
    """All metrics of logits (N, C) by name, without classes, devices and groups that have no clips.

    ``class/<scene>``, ``device/<device>`` and ``group/<real|seen|unseen>`` are accuracies; the
    accuracies of devices and groups are over clips, as DCASE reports them.
    """
    predictions = logits.argmax(axis=1)
    correct = predictions == labels
    metrics = {
        "macro_accuracy": macro_accuracy(logits, labels),
        "accuracy": float(correct.mean()),
        "log_loss": log_loss(logits, labels),
        "calibration_error": calibration_error(logits, labels),
    }
    recalls = recall_by_class(confusion_matrix(labels, predictions, len(classes)))
    for scene, recall in zip(classes, recalls, strict=True):
        if not np.isnan(recall):
            metrics[f"class/{scene}"] = float(recall)
    for device in dict.fromkeys(sorted(clip_devices)):
        metrics[f"device/{device}"] = float(correct[clip_devices == device].mean())
    groups = np.array([device_group(device) or "" for device in clip_devices], dtype=object)
    for group in ("real", "seen", "unseen"):
        if (groups == group).any():
            metrics[f"group/{group}"] = float(correct[groups == group].mean())
    return metrics
