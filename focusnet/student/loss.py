"""Computes the loss that the student minimises: labels and a teacher's logits together."""

import torch
import torch.nn.functional as F
from torch import Tensor

from focusnet.loss import distillation_loss


def student_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    label_weight: float = 0.02,
    teacher_weight: float = 0.98,
    temperature: float = 2.0,
) -> Tensor:
    """``label_weight * CE + teacher_weight * T^2 * KL(teacher || student)``, a 0-d tensor.

    KL is averaged over batch and classes, as in the code of the DCASE Task 1 teams. In the usual
    form ("batchmean", arXiv:1503.02531), a sum over classes, the same teacher weight is C times as
    large: 0.98 here is 0.098 there with ten classes. Half precision is computed in float32; no
    gradient flows into the teacher.

    Args:
        logits, teacher_logits: (B, C).
        labels: (B,) class indices.
        temperature: T, of both softmaxes in KL.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    classification = F.cross_entropy(logits, labels)
    taught = distillation_loss(
        logits, teacher_logits.to(logits.dtype), temperature, mean_over_classes=True
    )
    return label_weight * classification + teacher_weight * taught
