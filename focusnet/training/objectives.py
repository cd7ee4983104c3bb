"""Defines what a stage minimises: cross-entropy, distillation, FocusNet's loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focusnet.loss import FocusNetLoss, distillation_loss, warm_classes
from focusnet.training.batches import Batch


class CrossEntropy(nn.Module):
    """The objective of the template, and of the controls that train once more without it."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; ``loss`` is the one to minimise."""
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=self.label_smoothing)
        return {"loss": loss}


class _WithTemplate(nn.Module):
    """Base of objectives with template logits: stored ones, or those of the augmented batch.

    With ``template`` the template runs on every batch, as the original image code did
    (``focus.template_logits: online``); without, the batch brings stored logits.
    """

    def __init__(self, template: nn.Module | None = None) -> None:
        super().__init__()
        self.template = template

    def template_logits(self, batch: Batch, spec: Tensor) -> Tensor:
        """Template logits (B, C) of a batch."""
        if self.template is None:
            return batch.template_logits
        self.template.eval()
        with torch.no_grad():
            return self.template(spec)[0].float()


class Distillation(_WithTemplate):
    """Self-distillation: the template teaches a network of its own size."""

    def __init__(
        self, temperature: float, weight: float, template: nn.Module | None = None
    ) -> None:
        super().__init__(template)
        self.temperature = temperature
        self.label_weight = 1 - weight
        self.teacher_weight = weight
        self.mean_over_classes = False

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; ``loss`` is the one to minimise."""
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        classification = F.cross_entropy(logits, batch.labels)
        taught = distillation_loss(
            logits,
            self.template_logits(batch, spec),
            self.temperature,
            mean_over_classes=self.mean_over_classes,
        )
        loss = self.label_weight * classification + self.teacher_weight * taught
        return {"loss": loss, "classification": classification, "distillation": taught}


class FieldDistillation(Distillation):
    """Distillation as the field weights it: two free weights, a mean over classes.

    Its loss is ``focusnet.student.student_loss``; it teaches students as well.
    """

    def __init__(
        self,
        temperature: float,
        label_weight: float,
        teacher_weight: float,
        template: nn.Module | None = None,
    ) -> None:
        super().__init__(temperature, teacher_weight, template)
        self.label_weight = label_weight
        self.mean_over_classes = True


class FocusObjective(_WithTemplate):
    """FocusNet's objective."""

    def __init__(self, loss: FocusNetLoss, template: nn.Module | None = None) -> None:
        super().__init__(template)
        self.loss = loss

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; also the mean number of warm classes in it."""
        template_logits = self.template_logits(batch, spec)
        terms = self.loss(logits, template_logits, batch.labels)
        warm = warm_classes(
            template_logits,
            batch.labels,
            threshold=self.loss.threshold,
            temperature=self.loss.temperature,
        ).sum(dim=1)
        return {
            "loss": terms.total,
            "classification": terms.classification,
            "attention": terms.attention,
            "negentropy": terms.negentropy,
            "warm_classes": warm.float().mean(),
            "only_label_warm": (warm == 1).float().mean(),
        }
