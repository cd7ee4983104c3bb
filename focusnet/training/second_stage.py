"""Defines what the second stage of each arm minimises, and its template logits.

"Training twice helps" is not "FocusNet helps". So there are controls with the same budget, initial
weights, order of the clips and template: cross-entropy, label smoothing, self-distillation,
FocusNet with the paper's settings (reference), and FocusNet with the masks of other clips
(placebo). Only a gain over the placebo is a gain from knowing what the template confused.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, nn

from focusnet.arms import settings_of_arm
from focusnet.config import DistillationConfig, FocusConfig
from focusnet.loss import FocusNetLoss, warm_classes
from focusnet.training.objectives import (
    CrossEntropy,
    Distillation,
    FieldDistillation,
    FocusObjective,
)


def second_stage_objective(
    arm: str, focus: FocusConfig, template: nn.Module | None = None
) -> CrossEntropy | Distillation | FocusObjective:
    """The objective of ``arm`` with the trial's settings ``focus``.

    ``template`` runs on every batch; without it the batches bring stored logits.
    """
    focus = settings_of_arm(arm, focus)
    if arm == "cross_entropy":
        return CrossEntropy(label_smoothing=0.0)
    if arm == "label_smoothing":
        return CrossEntropy(focus.label_smoothing)
    if arm == "distillation":
        return _distillation(focus.distillation, template)
    loss = FocusNetLoss(
        weight=focus.weight,
        entropy_weight=focus.entropy_weight,
        threshold=focus.threshold,
        temperature=focus.temperature,
        label_smoothing=focus.label_smoothing,
    )
    return FocusObjective(loss, template)


def _distillation(settings: DistillationConfig, template: nn.Module | None) -> Distillation:
    if settings.form == "usual":
        return Distillation(settings.temperature, settings.weight, template)
    weights = settings.label_weight, settings.teacher_weight
    return FieldDistillation(settings.temperature, *weights, template)


def shuffle_within_classes(
    logits: NDArray[np.float32], labels: NDArray[np.int64], generator: Generator
) -> NDArray[np.float32]:
    """Template logits of the placebo: each clip gets those of another clip of its class.

    The masks of each scene keep their number and kind of warm classes, but tell nothing about the
    clip.

    Args:
        logits: (N, C). labels: (N,).
        generator: draws one cycle through the clips of each class, so that no clip keeps its own
            logits unless it is the only one of its class.
    """
    shuffled = logits.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        cycle = rows[torch.randperm(len(rows), generator=generator).numpy()]
        shuffled[cycle] = logits[np.roll(cycle, 1)]
    return shuffled


def mask_statistics(
    template_logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    threshold: float | None,
    temperature: float,
) -> dict[str, float]:
    """How many classes the confusion masks of clips hold.

    ``focus/warm_classes`` is the mean number of warm classes, ``focus/only_label_warm`` the share
    of clips whose only warm class is the label. With means near 1, FocusNet cannot differ from
    label smoothing.
    """
    warm = warm_classes(
        torch.from_numpy(template_logits),
        torch.from_numpy(labels),
        threshold=threshold,
        temperature=temperature,
    )
    counts = warm.sum(dim=1)
    return {
        "focus/warm_classes": float(counts.double().mean()),
        "focus/only_label_warm": float((counts == 1).double().mean()),
    }
