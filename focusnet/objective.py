"""What a stage minimises, as named terms: the template's cross-entropy and FocusNet's loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focusnet.batches import Batch
from focusnet.loss import FocusNetLoss, warm_classes


class CrossEntropy(nn.Module):
    """The template's objective."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; ``loss`` is the one to minimise."""
        loss = F.cross_entropy(logits.float(), batch.labels, label_smoothing=self.label_smoothing)
        return {"loss": loss}


class FocusObjective(nn.Module):
    """FocusNet's objective, on stored template logits or on those of the augmented batch.

    With ``template`` the template runs on every batch, as the original image code did
    (``focus.template_logits: online``); without, the batch brings stored logits.
    """

    def __init__(self, loss: FocusNetLoss, template: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.template = template

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; also the mean number of warm classes in it."""
        template_logits = batch.template_logits
        if self.template is not None:
            self.template.eval()
            with torch.no_grad():
                template_logits = self.template(spec)[0].float()
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
