"""A search space: its settings, and what follows from them for strata and trials."""

import copy
import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from focusnet.config import Count, NonNegativeInt, Positive, Seed, Settings, TrialConfig
from study.space.domains import Choice, Domain
from study.space.objectives import METRICS, Metric, SecondMetric

Control = Literal["cross_entropy", "label_smoothing", "distillation", "reference", "placebo"]
CONTROLS: tuple[Control, ...] = get_args(Control)


def _named(value: Any) -> Any:
    """``scheduler: none`` is short for ``scheduler: {name: none}``; a bare null means none too."""
    if value is None:
        return {"name": "none"}
    return {"name": value} if isinstance(value, str) else value


class SchedulerSettings(Settings):
    """Early stopping of trials that fall behind those of their own stratum."""

    name: Literal["asha", "none"]  # `scheduler: none` will do, too
    grace_epochs: Count = 3  # epochs of the FocusNet stage that every trial gets
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0  # the best 1 / factor go on


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise ValueError(
            "must hold letters, digits, '.', '_' and '-' only, 80 at most, because it names the "
            f"results folder, received {name!r}"
        )
    return name


class SearchSettings(Settings):
    """How configurations are chosen."""

    algorithm: Literal["tpe", "random", "grid"] = "tpe"  # tpe: Optuna's, multivariate
    trials: Count | None = None  # per stratum; a grid has as many as it has points
    stratify: str | None = None  # a parameter of space; each of its values gets its own search
    metric: Metric = METRICS[0]  # maximised; chooses the winner
    second_metric: SecondMetric | None = None  # of a search with two objectives
    seed: Seed = 0  # of the configurations and of the trials
    scheduler: Annotated[SchedulerSettings, BeforeValidator(_named)] = SchedulerSettings(
        name="none"
    )

    @model_validator(mode="after")
    def _asha_sees_the_metric(self) -> "SearchSettings":
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
    def metrics(self) -> tuple[str, ...]:
        """The objectives: one, or two."""
        return (self.metric,) if self.second_metric is None else (self.metric, self.second_metric)


class ResourceSettings(Settings):
    """What one trial occupies; fractions share a CPU or GPU among trials."""

    cpu: Positive = 1.0  # above 1 whole numbers only
    gpu: Annotated[float, Field(ge=0)] = 0.0  # likewise; 0.5 lets two trials share one
    max_concurrent: Count | None = None  # default: as many as fit
    retries: NonNegativeInt = 2  # of a trial whose worker died: killed, out of memory, node lost

    @model_validator(mode="after")
    def _ray_can_give_it(self) -> "ResourceSettings":
        for name, amount in (("cpu", self.cpu), ("gpu", self.gpu)):
            if amount > 1 and amount != int(amount):
                raise ValueError(f"{name} above 1 must be a whole number, received {amount:g}")
        return self


class ControlSettings(Settings):
    """What is held against FocusNet: second stages that know less, with its budget and template.

    Each stratum's winner gets them once its search has ended.
    """

    arms: list[Control] = Field(default_factory=lambda: list(CONTROLS))  # which second stages
    seeds: list[Seed] | None = None  # default: the search's own; fresh ones belong to confirm

    @field_validator("arms", "seeds")
    @classmethod
    def _each_once(cls, values: list[Any] | None) -> list[Any] | None:
        return _distinct(values)


class ConfirmSettings(Settings):
    """Training each stratum's winner and the controls again, with seeds that chose nothing."""

    seeds: NonNegativeInt | list[Seed] = 5  # how many, or which
    keep_weights: bool = False  # of the winners' trainings, as members of an ensemble

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, values: int | list[int]) -> int | list[int]:
        return values if isinstance(values, int) else _distinct(values) or []

    def resolved(self, taken: Collection[int]) -> list[int]:
        """The seeds; where only their number is given, the first ones that are not ``taken``."""
        if not isinstance(self.seeds, int):
            return self.seeds
        seeds = (seed % 2**32 for seed in itertools.count(min(taken, default=0) + 1))
        return list(itertools.islice((seed for seed in seeds if seed not in taken), self.seeds))


def _distinct(values: list[Any] | None) -> list[Any] | None:
    twice = [value for value in values or [] if (values or []).count(value) > 1]
    if twice:
        raise ValueError(f"each must be there once, received {twice[0]!r} twice")
    return values


class SpaceSettings(Settings):
    """The top level of a space file; ``space`` and ``trial`` have checks of their own."""

    name: Annotated[str, AfterValidator(_folder_name)]  # of the folder in results/
    search: SearchSettings
    resources: ResourceSettings = ResourceSettings()
    controls: ControlSettings = ControlSettings()
    confirm: ConfirmSettings = ConfirmSettings()
    space: dict[str, Any]
    trial: dict[str, Any]


@dataclass(frozen=True)
class Space:
    """A valid search space: nothing in it can be refused later."""

    name: str
    search: SearchSettings
    resources: ResourceSettings
    domains: dict[str, Domain]  # by dotted path into the trial
    trial: dict[str, Any]  # what all trials share; paths are absolute
    control_arms: tuple[str, ...] = ()
    control_seeds: tuple[int, ...] = ()  # beside the winner of the search
    confirm_seeds: tuple[int, ...] = ()  # of the winner and its controls, trained again
    confirmed_weights: bool = False  # kept of the winner's trainings with them

    @property
    def strata(self) -> tuple[Any, ...]:
        """The values of the stratifying parameter; ``(None,)`` where there is one search only."""
        if self.search.stratify is None:
            return (None,)
        return cast(Choice, self.domains[self.search.stratify]).values

    @property
    def searched(self) -> dict[str, Domain]:
        """The domains that a stratum's own search chooses from."""
        return {p: d for p, d in self.domains.items() if p != self.search.stratify}

    @property
    def trials_per_stratum(self) -> int:
        points = math.prod(domain.size() for domain in self.searched.values())
        return self.search.trials if self.search.trials is not None else int(points)

    @property
    def followers_per_stratum(self) -> int:
        """How many trials follow a stratum's search: controls of its winner, and confirmation."""
        arms = len(self.control_arms)
        return arms * len(self.control_seeds) + (1 + arms) * len(self.confirm_seeds)

    @property
    def trials_in_all(self) -> int:
        return len(self.strata) * (self.trials_per_stratum + self.followers_per_stratum)

    def label(self, stratum: Any) -> str:
        """What a stratum is called, such as ``subset 25``; empty where there is one only."""
        if self.search.stratify is None:
            return ""
        return f"{self.search.stratify.rpartition('.')[2]} {stratum}"

    def trial_settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the trial with ``parameters``, as ``TrialConfig`` takes them."""
        return with_values(self.trial, {"seed": self.search.seed, **parameters})

    def focus_epochs(self) -> int:
        """The most epochs a FocusNet stage of this study can have."""
        paths = [path for path in ("template.epochs", "focus.epochs") if path in self.domains]
        ends = itertools.product(*(self.domains[path].extremes() for path in paths))
        base = self.first_values()
        trials = [
            TrialConfig.model_validate(
                self.trial_settings({**base, **dict(zip(paths, values, strict=True))})
            )
            for values in ends
        ]
        return max(trial.focus.epochs or trial.template.epochs for trial in trials)

    def first_values(self) -> dict[str, Any]:
        """One valid configuration, where any will do."""
        return {path: domain.extremes()[0] for path, domain in self.domains.items()}

    def templates_shared(self) -> bool:
        """Whether the trials of a stratum have one template in common."""
        reuse = self.example().template.reuse and "template.reuse" not in self.domains
        return reuse and not self.shaping

    def templates_at_most(self) -> int:
        """How many templates the study can need; exact where the search leaves them alone."""
        searched = len(self.strata) * self.trials_per_stratum
        if not self.example().template.reuse:
            return self.trials_in_all
        strata = 1 if (self.search.stratify or "").startswith("focus.") else len(self.strata)
        variants = math.prod(domain.size() for domain in self.shaping.values())
        return int(min(searched, strata * variants)) + strata * len(self.fresh_seeds)

    def folds_at_most(self) -> int:
        """How many templates of folds the study can need beside; 0 without cross-fitting."""
        example = self.example()
        logits = self.domains.get("focus.template_logits")
        choices = logits.extremes() if logits else (example.focus.template_logits,)
        if "cross_fitted" not in choices:
            return 0
        folds: Iterable[int] = (example.focus.folds,)
        if domain := self.domains.get("focus.folds"):
            low, high = min(domain.extremes()), max(domain.extremes())
            folds = domain.values if isinstance(domain, Choice) else range(low, high + 1)
        # Those of one number of folds are of no use to a trial with another.
        each = sum(folds) if example.template.reuse else max(folds)
        return each * self.templates_at_most()

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds of the trials that follow the search, with which it trains no template."""
        control_seeds = self.control_seeds if self.control_arms else ()
        every = dict.fromkeys((*control_seeds, *self.confirm_seeds))
        return tuple(seed for seed in every if seed != self.search.seed)

    @property
    def shaping(self) -> dict[str, Domain]:
        """What a stratum's own search chooses from and a template depends on."""
        return {p: d for p, d in self.searched.items() if not p.startswith("focus.")}

    def example(self) -> TrialConfig:
        """The settings of one of the trials, where any will do."""
        return TrialConfig.model_validate(self.trial_settings(self.first_values()))

    def content(self) -> dict[str, Any]:
        """The space as a file states it, with every default and absolute path filled in."""
        trial = self.example().model_dump()
        for path in ("seed", "arm", *self.domains):
            *sections, name = path.split(".")
            inside = trial
            for section in sections:
                inside = inside[section]
            inside.pop(name, None)
        return {
            "name": self.name,
            "search": self.search.model_dump(),
            "resources": self.resources.model_dump(),
            "controls": {"arms": list(self.control_arms), "seeds": list(self.control_seeds)},
            "confirm": {
                "seeds": list(self.confirm_seeds),
                "keep_weights": self.confirmed_weights,
            },
            "space": {path: domain.content() for path, domain in self.domains.items()},
            "trial": trial,
        }


def with_values(trial: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``trial`` with each value of ``values`` set at its dotted path."""
    changed = dict(copy.deepcopy(trial))
    for path, value in values.items():
        *sections, name = path.split(".")
        inside = changed
        for section in sections:
            if not isinstance(inside.get(section), dict):
                inside[section] = {}
            inside = inside[section]
        inside[name] = value
    return changed
