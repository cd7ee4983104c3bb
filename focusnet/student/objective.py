"""Defines what a taught student minimises on a batch."""

from torch import Tensor, nn

from focusnet.student.loss import student_loss
from focusnet.training.batches import Batch


class Taught(nn.Module):
    """The student's loss with the teacher's stored logits, which the batch brings.

    Args: see ``student_loss``.
    """

    def __init__(
        self, label_weight: float = 0.02, teacher_weight: float = 0.98, temperature: float = 2.0
    ) -> None:
        super().__init__()
        self.label_weight = label_weight
        self.teacher_weight = teacher_weight
        self.temperature = temperature

    def forward(self, logits: Tensor, batch: Batch, spec: Tensor) -> dict[str, Tensor]:
        """Terms of one batch; ``loss`` is the one to minimise."""
        loss = student_loss(
            logits,
            batch.template_logits,
            batch.labels,
            self.label_weight,
            self.teacher_weight,
            self.temperature,
        )
        return {"loss": loss}
