"""Earlier trials of a stratum, as the search sees them when it chooses the next configuration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from study.ledger.ledger import Trial


@dataclass(frozen=True)
class PastTrial:
    """An earlier trial of the same stratum."""

    parameters: dict[str, Any]
    state: Literal["finished", "stopped", "failed", "running"]
    values: tuple[float | None, ...] = ()  # of a finished trial, one per objective
    curve: dict[int, float] = field(default_factory=dict)  # the metric by epoch

    @property
    def is_complete(self) -> bool:
        """Whether it has finished with a finite value of each objective."""
        values = [value for value in self.values if value is not None and math.isfinite(value)]
        return self.state == "finished" and 0 < len(self.values) == len(values)


def past_trial(trial: Trial, metrics: Sequence[str]) -> PastTrial:
    """A trial of the ledger, for a search that optimises ``metrics``."""
    return PastTrial(
        parameters=trial.parameters,
        state="running" if trial.status == "pending" else trial.status,
        values=tuple(trial.metrics.get(metric) for metric in metrics),
        curve=trial.curve(metrics[0]) if trial.status == "stopped" else {},
    )
