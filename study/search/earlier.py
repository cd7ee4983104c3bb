"""A trial as the search of its stratum sees it when it chooses the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from study.ledger.ledger import Trial


@dataclass(frozen=True)
class Earlier:
    """A trial of the same stratum that was handed out before."""

    parameters: dict[str, Any]
    state: Literal["finished", "stopped", "failed", "running"]
    values: tuple[float | None, ...] = ()  # of a finished trial, one for each objective
    curve: dict[int, float] = field(default_factory=dict)  # the metric by epoch


def earlier(trial: Trial, metrics: Sequence[str]) -> Earlier:
    """A trial of the ledger as a search for the best ``metrics`` looks at it."""
    return Earlier(
        parameters=trial.parameters,
        state="running" if trial.status == "pending" else trial.status,
        values=tuple(trial.metrics.get(metric) for metric in metrics),
        curve=trial.curve(metrics[0]) if trial.status == "stopped" else {},
    )
