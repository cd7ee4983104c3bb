"""Pydantic models of a space file's sections; the sentence under a field is its documentation."""

import itertools
import re
from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from focusnet.config import Count, NonNegative, NonNegativeInt, Positive, Seed, Settings
from study.space.objectives import METRICS, Metric, SecondMetric
from study.space.per_stratum import CountByStratum

FIXED = ("random", "grid")  # algorithms whose configurations no result decides
Control = Literal["cross_entropy", "label_smoothing", "distillation", "reference", "placebo"]


def _distinct(values: list[Any] | None) -> list[Any] | None:
    repeated = [value for value in values or [] if (values or []).count(value) > 1]
    if repeated:
        raise ValueError(f"each may be given once, received {repeated[0]!r} twice")
    return values


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise ValueError(
            "must consist of letters, digits, '.', '_' and '-', 80 at most, because it names the "
            f"results folder, received {name!r}"
        )
    return name


def _scheduler_by_name(value: Any) -> Any:
    """``scheduler: none`` is short for ``scheduler: {name: none}``; so is null."""
    if value is None:
        return {"name": "none"}
    return {"name": value} if isinstance(value, str) else value


class SchedulerSettings(Settings):
    """Early stopping: trials are compared with the others of their stratum."""

    name: Literal["asha", "none"]
    """Scheduler; `scheduler: none` is short for `scheduler: {name: none}`."""
    grace_epochs: Count = 3
    """Epochs of the FocusNet stage that every trial gets before it can be stopped."""
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0
    """At each comparison the best 1 / factor of the trials continue."""


class SearchSettings(Settings):
    """How configurations are chosen."""

    algorithm: Literal["tpe", "random", "grid"] = "tpe"
    """Search algorithm; `tpe` is Optuna's multivariate TPE."""
    trials: CountByStratum | None = None
    """Trials per stratum; `null` (for `grid` only): one for each grid point."""
    winner: Literal["posterior_mean", "best_observed"] | None = None
    """How a stratum's winner is chosen: by a model of all trials of all strata, or by the best
    trial; `null`: `posterior_mean`, but `best_observed` with `tpe` or a scheduler."""
    stratify: str | None = None
    """Searched parameter whose values (strata) get a search each; `null`: a single search."""
    metric: Metric = METRICS[0]
    """Metric to maximise; it decides the winner."""
    second_metric: SecondMetric | None = None
    """Second objective of a multi-objective search."""
    seed: Seed = 0
    """Seed of the search and of its trials."""
    scheduler: Annotated[SchedulerSettings, BeforeValidator(_scheduler_by_name)] = (
        SchedulerSettings(name="none")
    )

    @model_validator(mode="after")
    def _asha_needs_a_focus_metric(self) -> "SearchSettings":
        if self.scheduler.name == "asha" and not self.metric.startswith("focus/"):
            raise ValueError(
                f"scheduler asha compares epochs of the FocusNet stage, received metric "
                f"'{self.metric}': use focus/select/... or scheduler: none"
            )
        return self

    @model_validator(mode="after")
    def _two_objectives(self) -> "SearchSettings":
        if self.second_metric is None:
            return self
        if self.second_metric == self.metric:
            raise ValueError(f"second_metric must differ from metric, received '{self.metric}'")
        if self.scheduler.name != "none":
            raise ValueError(
                "a scheduler compares trials by one metric and would stop those that are good by "
                f"the second, received {self.scheduler.name}: use scheduler: none"
            )
        return self

    @property
    def is_fixed(self) -> bool:
        """Whether no result decides which configurations are tried, and for how long."""
        return self.algorithm in FIXED and self.scheduler.name == "none"

    def resolved(self) -> "SearchSettings":
        """These settings with the default of ``winner`` filled in."""
        default = "posterior_mean" if self.is_fixed else "best_observed"
        return self.model_copy(update={"winner": self.winner or default})

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives: one, or two."""
        return (self.metric,) if self.second_metric is None else (self.metric, self.second_metric)


class ResourceSettings(Settings):
    """What one trial occupies; with fractions, trials share a CPU or GPU."""

    cpu: Positive = 1.0
    """CPU cores per trial; above 1 a whole number."""
    gpu: NonNegative = 0.0
    """GPUs per trial; above 1 a whole number, 0.5 lets two trials share one."""
    max_concurrent: Count | None = None
    """Most trials to run at a time; `null`: as many as fit."""
    retries: NonNegativeInt = 2
    """How often to restart a trial whose worker died (killed, out of memory, node lost)."""

    @model_validator(mode="after")
    def _whole_above_one(self) -> "ResourceSettings":
        for name, amount in (("cpu", self.cpu), ("gpu", self.gpu)):
            if amount > 1 and amount != int(amount):
                raise ValueError(f"{name} above 1 must be a whole number, received {amount:g}")
        return self


class ControlSettings(Settings):
    """Control arms: second stages with less information than FocusNet, but the same budget.

    Each stratum's winner gets its controls when the search of the stratum has ended. They use the
    winner's parameters, and with the same seed its template.
    """

    arms: list[Control] = Field(default_factory=lambda: list(get_args(Control)))
    """Which control arms to train."""
    seeds: list[Seed] | None = None
    """Seeds of the controls; `null`: `search.seed`."""

    @field_validator("arms", "seeds")
    @classmethod
    def _each_once(cls, values: list[Any] | None) -> list[Any] | None:
        return _distinct(values)


class ConfirmSettings(Settings):
    """Confirmation: each stratum's winner and its controls are retrained with fresh seeds."""

    seeds: NonNegativeInt | list[Seed] = 5
    """Number of fresh seeds, or the seeds themselves; 0 disables."""
    keep_weights: bool = False
    """Whether to keep the weights of the retrained winners, for an ensemble."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _number_or_list(cls, seeds: Any) -> Any:
        # Before pydantic, which would report a wrong value once as a number and once as a list.
        numbers = seeds if isinstance(seeds, list) else [seeds]
        if not all(type(number) is int and 0 <= number < 2**32 for number in numbers):
            raise ValueError(
                "must be a number of seeds or a list of seeds, whole numbers from 0 below 2^32, "
                f"received {seeds!r}"
            )
        return _distinct(seeds) if isinstance(seeds, list) else seeds

    def resolved(self, taken: Collection[int]) -> list[int]:
        """The seeds; where only their number is given, the first ones that are not ``taken``."""
        if not isinstance(self.seeds, int):
            return self.seeds
        seeds = (seed % 2**32 for seed in itertools.count(min(taken, default=0) + 1))
        return list(itertools.islice((seed for seed in seeds if seed not in taken), self.seeds))


class SpaceSettings(Settings):
    """The top level of a space file.

    ``space`` and ``trial`` are checked together by ``study.space.validation``.
    """

    name: Annotated[str, AfterValidator(_folder_name)]
    """Name of the study; results go to `results/NAME/`."""
    search: SearchSettings
    resources: ResourceSettings = ResourceSettings()
    controls: ControlSettings = ControlSettings()
    confirm: ConfirmSettings = ConfirmSettings()
    space: dict[str, Any]
    """Searched parameters: a domain for each dotted path into `trial`."""
    trial: dict[str, Any]
    """Settings of every trial."""
