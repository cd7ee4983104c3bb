"""Converts the study's trials to Optuna's, for its samplers and for optuna-dashboard."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.space.domains import Choice, Domain

if TYPE_CHECKING:
    from study.search.past_trial import PastTrial


def distributions(domains: Mapping[str, Domain]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each searched parameter."""
    return {path: _distribution(domain) for path, domain in domains.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if domain.kind == "int":
        return IntDistribution(int(domain.low), int(domain.high))
    return FloatDistribution(domain.low, domain.high, log=domain.kind == "loguniform")


def frozen_trial(
    trial: "PastTrial", domains: Mapping[str, Domain], attributes: dict[str, Any] | None = None
) -> FrozenTrial:
    """Optuna's record of a trial; a finished trial without finite values counts as failed."""
    state = {
        "finished": TrialState.COMPLETE,
        "stopped": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "running": TrialState.RUNNING,
    }[trial.state]
    values: list[float] | None = None
    if trial.is_complete:
        values = [value for value in trial.values if value is not None]
    elif state == TrialState.COMPLETE:
        state = TrialState.FAIL
    curve = {epoch: v for epoch, v in trial.curve.items() if math.isfinite(v)}
    return create_trial(
        state=state,
        values=values,
        params={path: trial.parameters[path] for path in domains},
        distributions=distributions(domains),
        intermediate_values=curve,
        user_attrs=attributes or {},
    )


def silence(below: int = optuna.logging.WARNING) -> None:
    """Keep Optuna's log messages below a level out of the console."""
    optuna.logging.set_verbosity(below)
