"""What is recorded of one epoch: in epochs.jsonl, in checkpoints, and for the trial's caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FIELDS = ("stage", "epoch", "epochs", "seconds", "non_finite_retries")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a stage."""

    stage: str  # 'template' or 'focus'
    epoch: int  # from 1
    epochs: int  # of the stage
    metrics: Mapping[str, float]  # '<stage>/train/<term>', '<stage>/select/<metric>'
    seconds: float  # from the stage's begin to the epoch's end
    non_finite_retries: int = 0  # retries after a non-finite loss until then

    @property
    def is_last(self) -> bool:
        return self.epoch == self.epochs

    def flat(self) -> dict[str, Any]:
        """As one mapping, which is how it is stored and reported."""
        content = {"stage": self.stage, "epoch": self.epoch, "epochs": self.epochs}
        content |= {**self.metrics, "seconds": self.seconds}
        if self.non_finite_retries:
            content["non_finite_retries"] = self.non_finite_retries
        return content

    @classmethod
    def from_flat(cls, content: Mapping[str, Any]) -> "EpochRecord":
        """The reverse of ``flat``."""
        own = {name: content[name] for name in _FIELDS if name in content}
        metrics = {name: value for name, value in content.items() if name not in _FIELDS}
        return cls(**own, metrics=metrics)

    def __str__(self) -> str:
        """Such as ``epoch 2/9: loss 1.250, select macro accuracy 50.0 %, 3 s``."""
        prefix = f"{self.stage}/train/"
        parts = [
            f"{name.removeprefix(prefix).replace('_', ' ')} {value:.3f}"
            for name, value in self.metrics.items()
            if name.startswith(prefix)
        ]
        accuracy = self.metrics.get(f"{self.stage}/select/macro_accuracy")
        if accuracy is not None:
            parts.append(f"select macro accuracy {100 * accuracy:.1f} %")
        return f"epoch {self.epoch}/{self.epochs}: {', '.join(parts)}, {self.seconds:.0f} s"
