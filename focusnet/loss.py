"""Computes the FocusNet loss, which trains a network on what its template confuses.

Source: Zhang, Sheng, Shen, "FocusNet: Classifying Better by Focusing on Confusing Classes",
Pattern Recognition 129 (2022), arXiv:2110.07307. Notation: logits ``z``, template logits ``t``,
labels ``y``, ``C`` classes, ``p = softmax(z)``, ``q = softmax(t)``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def warm_classes(
    template_logits: Tensor,
    labels: Tensor,
    *,
    threshold: float | None = None,
    temperature: float = 2.0,
) -> Tensor:
    """Find a clip's warm classes: those the template finds probable, and always the label.

    Class c is warm if ``softmax(t / temperature)[c] > threshold`` or ``c = y``.

    Args:
        template_logits: (B, C).
        labels: (B,) class indices.
        threshold: a probability; 1 / C by default.
        temperature: of the softmax; a value above 1 makes more classes warm.

    Returns:
        (B, C) booleans, at least one True in each row.
    """
    if threshold is None:
        threshold = 1.0 / template_logits.shape[-1]
    probabilities = F.softmax(template_logits.detach() / temperature, dim=-1)
    return (probabilities > threshold).scatter(-1, labels.unsqueeze(-1), True)


def confusion_mask(
    template_logits: Tensor,
    labels: Tensor,
    *,
    threshold: float | None = None,
    temperature: float = 2.0,
) -> Tensor:
    """Attention target: equal shares for a clip's warm classes, zero for the others.

    Takes the arguments of :func:`warm_classes`. Returns (B, C) in the logits' dtype; rows sum to 1;
    no gradient flows into the template.
    """
    warm = warm_classes(template_logits, labels, threshold=threshold, temperature=temperature)
    shares = warm.to(template_logits.dtype)
    return shares / shares.sum(dim=-1, keepdim=True)


class FocusNetTerms(NamedTuple):
    """Total loss and its three unweighted terms: 0-d tensors, means over the batch."""

    total: Tensor
    classification: Tensor
    attention: Tensor
    negentropy: Tensor


class FocusNetLoss(nn.Module):
    """total = classification + weight * attention + entropy_weight * negentropy.

    - classification: cross-entropy of ``z + (p - q)`` against the smoothed label
      ``(1 - label_smoothing) * onehot(y) + label_smoothing / C``; ``p - q`` is not detached;
    - attention: cross-entropy of ``z`` against :func:`confusion_mask`;
    - negentropy: ``sum_c p_c log p_c``.

    Args:
        weight: factor of the attention term (reference value 1).
        entropy_weight: factor of the negentropy term (reference value 1).
        threshold: of the confusion mask (default and reference value 1 / C).
        temperature: of the confusion mask (reference value 2).
        label_smoothing: of the classification term (reference value 0.1).
    """

    def __init__(
        self,
        weight: float = 1.0,
        entropy_weight: float = 1.0,
        threshold: float | None = None,
        temperature: float = 2.0,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.entropy_weight = entropy_weight
        self.threshold = threshold
        self.temperature = temperature
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, template_logits: Tensor, labels: Tensor) -> FocusNetTerms:
        """Compute the terms for ``logits`` and ``template_logits`` (B, C) and ``labels`` (B,)."""
        # Autocast gives bf16 logits, which are too coarse for p - q and for the threshold.
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        template_logits = template_logits.detach().to(logits.dtype)
        log_p = F.log_softmax(logits, dim=-1)
        p = log_p.exp()
        q = F.softmax(template_logits, dim=-1)
        classification = F.cross_entropy(
            logits + (p - q), labels, label_smoothing=self.label_smoothing
        )
        mask = confusion_mask(
            template_logits, labels, threshold=self.threshold, temperature=self.temperature
        )
        attention = -(mask * log_p).sum(dim=-1).mean()
        negentropy = (p * log_p).sum(dim=-1).mean()
        total = classification + self.weight * attention + self.entropy_weight * negentropy
        return FocusNetTerms(total, classification, attention, negentropy)

    def extra_repr(self) -> str:
        return (
            f"weight={self.weight}, entropy_weight={self.entropy_weight}, "
            f"threshold={self.threshold}, temperature={self.temperature}, "
            f"label_smoothing={self.label_smoothing}"
        )


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    *,
    mean_over_classes: bool = False,
) -> Tensor:
    """Knowledge distillation: ``T^2 * KL(softmax(teacher / T) || softmax(student / T))``.

    Source: Hinton, Vinyals, Dean, arXiv:1503.02531. Logits are (B, C). Returns the mean over the
    batch, with ``mean_over_classes`` that divided by C, a 0-d tensor; no gradient flows into the
    teacher.
    """
    student = F.log_softmax(student_logits / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    if mean_over_classes:
        divergence = divergence / student_logits.shape[-1]
    return divergence * temperature**2
