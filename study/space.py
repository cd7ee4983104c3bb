"""A search space file, validated as a whole before anything starts.

Every problem is reported at once, with its YAML path, the rule and the value received. The values
that the search may choose are held against the trial's own rules here, so that no trial of a study
can fail for a wrong setting after days of computing.
"""

import copy
import difflib
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from focusnet.config import (
    Count,
    Positive,
    Seed,
    Settings,
    TrialConfig,
    describe,
    nearest,
    nested_settings,
    validate,
)
from focusnet.errors import ConfigError
from study.domains import Choice, Domain, Range, parse_domain

METRICS = tuple(
    f"{stage}/select/{metric}"
    for stage in ("focus", "gain", "template")
    for metric in ("macro_accuracy", "accuracy")
)
# Settings that hold a path, and the words they may hold instead.
_PATHS: dict[str, tuple[str, ...]] = {
    "data.root": ("synthetic",),
    "data.cache": (),
    "augment.dir_folder": (),
    "model.weights": ("audioset", "none"),
}


def _named(value: Any) -> Any:
    """``scheduler: none`` is short for ``scheduler: {name: none}``; a bare null means none too."""
    if value is None:
        return {"name": "none"}
    return {"name": value} if isinstance(value, str) else value


class SchedulerSettings(Settings):
    """Early stopping of trials that fall behind those of their own stratum."""

    name: Literal["asha", "none"]
    grace_epochs: Count = 3  # epochs of the FocusNet stage that every trial gets
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0


def _known_metric(metric: str) -> str:
    if "/report/" in metric:
        raise ValueError(
            f"'{metric}' is on the half of the test split that is kept for the report; a search "
            "that sees it makes the report worthless: use a metric on select"
        )
    if metric not in METRICS:
        raise ValueError(f"unknown metric '{metric}'{nearest(metric, list(METRICS))}")
    return metric


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise ValueError(
            "must hold letters, digits, '.', '_' and '-' only, 80 at most, because it names the "
            f"results folder, received {name!r}"
        )
    return name


class SearchSettings(Settings):
    """How configurations are chosen."""

    algorithm: Literal["tpe", "random", "grid"] = "tpe"
    trials: Count | None = None  # per stratum; a grid has as many as it has points
    stratify: str | None = None
    metric: Annotated[str, AfterValidator(_known_metric)] = METRICS[0]  # maximised
    seed: Seed = 0
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


class ResourceSettings(Settings):
    """What one trial occupies; fractions share a CPU or GPU among trials."""

    cpu: Positive = 1.0
    gpu: Annotated[float, Field(ge=0)] = 0.0
    max_concurrent: Count | None = None  # default: as many as fit

    @model_validator(mode="after")
    def _ray_can_give_it(self) -> "ResourceSettings":
        for name, amount in (("cpu", self.cpu), ("gpu", self.gpu)):
            if amount > 1 and amount != int(amount):
                raise ValueError(f"{name} above 1 must be a whole number, received {amount:g}")
        return self


class SpaceSettings(Settings):
    """The top level of a space file; ``space`` and ``trial`` have checks of their own."""

    name: Annotated[str, AfterValidator(_folder_name)]
    search: SearchSettings
    resources: ResourceSettings = ResourceSettings()
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
        return reuse and all(path.startswith("focus.") for path in self.searched)

    def example(self) -> TrialConfig:
        """The settings of one of the trials, where any will do."""
        return TrialConfig.model_validate(self.trial_settings(self.first_values()))

    def content(self) -> dict[str, Any]:
        """The space as a file states it, with every default and absolute path filled in."""
        trial = self.example().model_dump()
        for path in ("seed", *self.domains):
            *sections, name = path.split(".")
            inside = trial
            for section in sections:
                inside = inside[section]
            inside.pop(name, None)
        return {
            "name": self.name,
            "search": self.search.model_dump(),
            "resources": self.resources.model_dump(),
            "space": {path: domain.content() for path, domain in self.domains.items()},
            "trial": trial,
        }


def validate_space(content: Mapping[str, Any], source: str) -> Space:
    """Check all of a space file's ``content``; raise one ConfigError that holds every problem.

    ``source`` (the file's name) leads each message. Relative paths are taken from the current
    folder.
    """
    problems: list[str] = []
    settings: SpaceSettings | None = None
    try:
        settings = validate(SpaceSettings, content)
    except ConfigError as error:
        problems += error.problems
    trial = content.get("trial")
    space = content.get("space")
    domains: dict[str, Domain] = {}
    if isinstance(trial, Mapping) and isinstance(space, Mapping):
        trial = dict(copy.deepcopy(trial))
        domains = _domains(space, problems)
        _make_absolute(trial, domains)
        _check_values(trial, domains, problems)
    if settings is not None:
        _check_search(settings, domains, problems)
    if problems or settings is None:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    valid = Space(settings.name, settings.search, settings.resources, domains, dict(trial or {}))
    _check_budget(valid, problems)
    if problems:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    return valid


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


def _domains(space: Mapping[Any, Any], problems: list[str]) -> dict[str, Domain]:
    """The valid entries of the ``space`` section."""
    domains = {}
    for path, content in space.items():
        complaint = _unknown_path(str(path))
        if complaint:
            problems.append(f"space.{path}: {complaint}")
        domain, wrong = parse_domain(content)
        problems += [f"space.{path}: {problem}" for problem in wrong]
        if domain is not None and not complaint:
            domains[str(path)] = domain
    return domains


def _unknown_path(path: str) -> str | None:
    """Why ``path`` names no setting of a trial, or None where it names one."""
    inside: type[BaseModel] | None = TrialConfig
    *outer, name = path.split(".")
    for part in outer:
        if inside is None or part not in inside.model_fields:
            inside = None
            break
        inside = nested_settings(inside.model_fields[part].annotation)
    if inside is None or name not in inside.model_fields:
        close = difflib.get_close_matches(path, _paths(TrialConfig), n=1)
        hint = f"did you mean '{close[0]}'?" if close else "name it as in data.subset"
        return f"the trial has no such setting ({hint})"
    section = nested_settings(inside.model_fields[name].annotation)
    if section is not None:
        example = f"{path}.{next(iter(section.model_fields))}"
        return f"is a section of the trial; name a setting in it, such as {example}"
    return None


def _paths(settings: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted paths of every plain setting in ``settings``."""
    paths = []
    for name, field in settings.model_fields.items():
        nested = nested_settings(field.annotation)
        paths += _paths(nested, f"{prefix}{name}.") if nested else [prefix + name]
    return paths


def _make_absolute(trial: dict[str, Any], domains: dict[str, Domain]) -> None:
    # Workers run in folders of Ray's, on other machines too: the user's current folder is where
    # a relative path means something.
    for path, words in _PATHS.items():

        def absolute(value: Any, words: tuple[str, ...] = words) -> Any:
            if not isinstance(value, str) or value in words or not value:
                return value
            return str(Path(value).expanduser().absolute())

        section, name = path.split(".")
        if isinstance(trial.get(section), dict) and name in trial[section]:
            trial[section] = {**trial[section], name: absolute(trial[section][name])}
        domain = domains.get(path)
        if isinstance(domain, Choice):
            domains[path] = Choice(tuple(absolute(value) for value in domain.values))


def _check_values(
    trial: Mapping[str, Any], domains: Mapping[str, Domain], problems: list[str]
) -> None:
    """Hold the trial, and each value that the search may give it, against the trial's rules."""
    if "seed" in trial:
        problems.append(
            f"trial.seed: search.seed gives the trials their seed, received {trial['seed']!r} here"
        )
    # The searched settings are judged below, one value at a time, on a base that holds a value of
    # each that is likely sound.
    base = with_values(trial, {path: domain.extremes()[0] for path, domain in domains.items()})
    for location, message in _violations(base):
        if ".".join(location) not in domains:
            problems.append(f"trial.{'.'.join(location)}: {message}" if location else message)
    base_locations = {location for location, _ in _violations(base)}
    for path, domain in domains.items():
        own = tuple(path.split("."))
        told: set[str] = set()  # one rule is told once, with the first value that breaks it
        for value in domain.extremes():
            for location, message in _violations(with_values(base, {path: value})):
                shown = f" (with {value!r})" if location != own else ""
                rule = message.partition(", received ")[0]
                if rule not in told and (location == own or location not in base_locations):
                    told.add(rule)
                    problems.append(f"space.{path}: {message}{shown}")


def _violations(trial: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """Location and message of every rule that ``trial`` breaks."""
    try:
        TrialConfig.model_validate(trial)
    except ValidationError as error:
        return [
            (
                tuple(str(part) for part in problem["loc"]),
                describe(TrialConfig, dict(problem)).partition(": ")[2],
            )
            for problem in error.errors()
        ]
    return []


def _check_search(
    settings: SpaceSettings, domains: Mapping[str, Domain], problems: list[str]
) -> None:
    search, resources = settings.search, settings.resources
    if search.stratify is not None and search.stratify not in settings.space:
        hint = nearest(search.stratify, list(settings.space))
        problems.append(
            f"search.stratify: must name a parameter of space, received '{search.stratify}'{hint}"
        )
    elif isinstance(domains.get(search.stratify or ""), Range):
        problems.append(
            f"search.stratify: '{search.stratify}' must be a choice, because each of its values "
            "gets a search of its own"
        )
    if search.algorithm == "grid":
        for path, domain in domains.items():
            if isinstance(domain, Range):
                problems.append(
                    f"space.{path}: a grid needs {{choice: [...]}}, received {domain.content()}"
                )
    elif search.trials is None:
        problems.append("search.trials: must be given, the number of trials per stratum")
    compute = settings.trial.get("compute")
    wants_cuda = isinstance(compute, Mapping) and compute.get("device") == "cuda"
    if wants_cuda and resources.gpu == 0:
        problems.append("resources.gpu: must be above 0 where trial.compute.device is cuda")


def _check_budget(space: Space, problems: list[str]) -> None:
    points = math.prod(domain.size() for domain in space.searched.values())
    if space.trials_per_stratum > points:
        problems.append(
            f"search.trials: the space has {int(points)} distinct configurations per stratum, "
            f"received {space.trials_per_stratum}"
        )
    scheduler = space.search.scheduler
    if scheduler.name == "asha" and scheduler.grace_epochs >= space.focus_epochs():
        problems.append(
            "search.scheduler.grace_epochs: must be below the epochs of the FocusNet stage "
            f"({space.focus_epochs()}), received {scheduler.grace_epochs}"
        )
