"""Pydantic models of a space file's sections; the sentence under a field is its documentation."""

import itertools
import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from focusnet.arms import STUDENT_ONLY
from focusnet.config import Count, NonNegative, NonNegativeInt, Positive, Seed, Settings
from study.space.objectives import METRICS, Metric, SecondMetric
from study.space.per_stratum import CountByStratum, number_of
from study.space.tracking_settings import TrackingSettings

MOST_SEEDS = 1000  # of a stratum
MOST_LOOKS = 20
DEFAULT_SEEDS = 5
FIXED = ("sobol", "random", "grid")  # algorithms whose configurations no result decides
Control = Literal[
    "cross_entropy",
    "label_smoothing",
    "distillation",
    "reference",
    "placebo",
    "template",
    "labels",
]


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
    """Epochs of the stage that `metric` measures (FocusNet or the student) that every trial gets
    before it can be stopped."""
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0
    """At each comparison the best 1 / factor of the trials continue."""


class SearchSettings(Settings):
    """How configurations are chosen."""

    algorithm: Literal["sobol", "random", "grid", "tpe", "gp"] = "tpe"
    """Search algorithm. `sobol`: a scrambled Sobol sequence, the same configurations in each
    stratum. `tpe`: Optuna's multivariate TPE; `gp`: its Gaussian process, which learns from
    finished trials only. Both begin with 10 random trials. Only with the first three, and without a
    scheduler, can both halves of the test locations be used to choose and to judge."""
    trials: CountByStratum | None = None
    """Trials per stratum; `null` (for `grid` only): one for each grid point."""
    hours: Positive | None = None
    """Hours of wall time, over all runs, after which no further trial of the search begins, but
    each stratum's first. Those that run end; controls and confirmation follow. `null`: no limit."""
    winner: Literal["posterior_mean", "best_observed"] | None = None
    """How a stratum's winner is chosen: by a model of all trials of all strata, or by the best
    trial; `null`: `posterior_mean`, but `best_observed` with
    `tpe`, `gp` or a scheduler."""
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
    def _asha_needs_a_metric_of_epochs(self) -> "SearchSettings":
        stages = ("focus/", "student/")
        if self.scheduler.name == "asha" and not self.metric.startswith(stages):
            raise ValueError(
                f"scheduler asha compares epochs of the FocusNet stage or the student, received "
                f"metric '{self.metric}': use focus/select/..., student/select/... or "
                "scheduler: none"
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
    winner's parameters, or those that a search of their own has found best, and with the same seed
    the winner's template.
    """

    arms: list[Control] | None = None
    """Which control arms to train; `null`: all, but `template` and `labels`, which train a student
    only, where `trial.student` has settings."""
    seeds: list[Seed] | None = None
    """Seeds of the controls; `null`: `search.seed`."""
    search: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Arms that get a search of their own, with as many trials as FocusNet's: for each, the
    settings of `focus` to search, written as in `space`. Other arms get the winner's settings."""

    @field_validator("arms", "seeds")
    @classmethod
    def _each_once(cls, values: list[Any] | None) -> list[Any] | None:
        return _distinct(values)


SeedCount = Annotated[int, Field(ge=0, le=MOST_SEEDS)]
LookCount = Annotated[int, Field(ge=1, le=MOST_SEEDS)]


class ConfirmSettings(Settings):
    """Confirmation: each stratum's winners and their controls are retrained with fresh seeds."""

    seeds: SeedCount | list[Seed] | dict[Any, LookCount] | None = None
    """Fresh seeds of each stratum: their number, as one for all or by stratum, or the seeds
    themselves, the same in all strata; 0 disables, whatever `looks` say; `null`: as `looks` say,
    else 5."""
    looks: list[LookCount | dict[Any, LookCount]] | None = None
    """Planned looks: the number of seeds up to each of them, as one for all or by stratum. After a
    look that shows a gain, a loss or that the effect is small, no further seeds are trained, and
    controls are trained after a gain only. `null`: one look, when all have been trained."""
    cross_fit: bool | None = None
    """Whether each half of the test split names a winner that is judged on the other half, so that
    all of the test split is used; else `select` names it and `report` judges it. `null`: `true`
    for `sobol`, `random` and `grid` without scheduler, with 3 seeds or more and `keep: last`."""
    margin: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Effect in points that matters: one that is smaller either way counts as small."""
    keep_weights: bool = False
    """Whether to keep the weights of the retrained winners, for an ensemble."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _number_list_or_mapping(cls, seeds: Any) -> Any:
        # Before pydantic, which would report a wrong value once for each kind.
        if seeds is None or _is_number(seeds, 0, MOST_SEEDS):
            return seeds
        if isinstance(seeds, list):
            if all(_is_number(seed, 0, 2**32 - 1) for seed in seeds) and len(seeds) <= MOST_SEEDS:
                return _distinct(seeds)
        elif isinstance(seeds, dict):
            wrong = [s for s, n in seeds.items() if not _is_number(n, 1, MOST_SEEDS)]
            if seeds and not wrong:
                return seeds
        raise ValueError(
            f"must be a number of seeds up to {MOST_SEEDS}, a mapping of each stratum to such a "
            f"number, or a list of seeds, whole numbers from 0 below 2^32, received {seeds!r}"
        )

    @field_validator("looks", mode="before")
    @classmethod
    def _numbers_of_seeds(cls, looks: Any) -> Any:
        def valid(look: Any) -> bool:
            numbers = list(look.values()) if isinstance(look, dict) else [look]
            return bool(numbers) and all(_is_number(n, 1, MOST_SEEDS) for n in numbers)

        if looks is None or (
            isinstance(looks, list) and 0 < len(looks) <= MOST_LOOKS and all(map(valid, looks))
        ):
            return looks
        raise ValueError(
            f"must be a list of up to {MOST_LOOKS} looks, each the number of seeds up to it (1 to "
            f"{MOST_SEEDS}) or a mapping of each stratum to such a number, received {looks!r}"
        )

    def counts(self, strata: Iterable[Any]) -> list[dict[Any, int]]:
        """The number of seeds of each stratum up to each look; of valid settings."""
        if isinstance(self.seeds, list):
            given: list[Any] = [len(self.seeds)]
        elif self.looks is not None and self.seeds != 0:
            given = self.looks
        else:
            given = [DEFAULT_SEEDS if self.seeds is None else self.seeds]
        strata = list(strata)
        return [{stratum: number_of(one, stratum) for stratum in strata} for one in given]

    def shared_seeds(self, taken: Collection[int]) -> list[int]:
        """The seeds of all strata; where their number is given, the first not ``taken``."""
        if isinstance(self.seeds, list):
            return self.seeds
        count = DEFAULT_SEEDS if self.seeds is None else self.seeds
        seeds = (seed % 2**32 for seed in itertools.count(min(taken, default=0) + 1))
        free = (seed for seed in seeds if seed not in taken)
        return list(itertools.islice(free, count if isinstance(count, int) else 0))


def _is_number(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


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
    tracking: TrackingSettings = TrackingSettings()
    space: dict[str, Any]
    """Searched parameters: a domain for each dotted path into `trial`."""
    trial: dict[str, Any]
    """Settings of every trial."""

    @property
    def has_student(self) -> bool:
        """Whether trials train a student, as far as the file states it."""
        searched = any(str(path).startswith("student.") for path in self.space)
        return searched or self.trial.get("student") is not None

    @property
    def control_arms(self) -> tuple[str, ...]:
        """``controls.arms`` with its default filled in."""
        if self.controls.arms is not None:
            return tuple(self.controls.arms)
        arms: tuple[str, ...] = get_args(Control)
        return tuple(arm for arm in arms if self.has_student or arm not in STUDENT_ONLY)
