"""Judging a search space file as a whole, before anything starts.

Every problem is reported at once, with its YAML path, the rule and the value received. The values
that the search may choose are held against the trial's own rules here, so that no trial of a study
can fail for a wrong setting after days of computing.
"""

import copy
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from focusnet.config import TrialConfig, describe, nearest, nested_settings, validate
from focusnet.errors import ConfigError
from study.space.domains import Choice, Domain, Range, parse_domain
from study.space.space import Space, SpaceSettings, with_values

# Settings that hold a path, and the words they may hold instead.
_PATHS: dict[str, tuple[str, ...]] = {
    "data.root": ("synthetic",),
    "data.cache": (),
    "augment.dir_folder": (),
    "model.weights": ("audioset", "none"),
}


# Settings of a trial that a study gives itself.
_STUDYS_OWN = {
    "seed": "search.seed gives the trials their seed, confirm.seeds those of the winners",
    "arm": "a study searches over FocusNet trials; controls.arms names the arms beside them",
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
    control_seeds = settings.controls.seeds
    if control_seeds is None:
        control_seeds = [settings.search.seed]
    valid = Space(
        settings.name,
        settings.search,
        settings.resources,
        domains,
        dict(trial or {}),
        control_arms=tuple(settings.controls.arms),
        control_seeds=tuple(control_seeds),
        confirm_seeds=tuple(settings.confirm.resolved({settings.search.seed, *control_seeds})),
        confirmed_weights=settings.confirm.keep_weights,
    )
    _check_budget(valid, problems)
    if problems:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    return valid


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
    for name, why in _STUDYS_OWN.items():
        if name in trial:
            problems.append(f"trial.{name}: {why}, received {trial[name]!r} here")
        if name in domains:
            problems.append(f"space.{name}: {why}")
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
    elif "data.subset" in domains and search.stratify != "data.subset":
        problems.append(
            "search.stratify: must be data.subset where space holds it, because more data always "
            f"scores higher: one search would only find that; received {search.stratify!r}"
        )
    if search.algorithm == "grid":
        for path, domain in domains.items():
            if isinstance(domain, Range):
                problems.append(
                    f"space.{path}: a grid needs {{choice: [...]}}, received {domain.content()}"
                )
    elif search.trials is None:
        problems.append("search.trials: must be given, the number of trials per stratum")
    fresh = settings.confirm.seeds
    seen = {search.seed, *(settings.controls.seeds or [])}
    stale = [seed for seed in fresh if seed in seen] if isinstance(fresh, list) else []
    if stale:
        problems.append(
            f"confirm.seeds: must be fresh, neither search.seed nor in controls.seeds, received "
            f"{stale[0]}"
        )
    focus = settings.trial.get("focus")
    logits: tuple[Any, ...] = (focus.get("template_logits") if isinstance(focus, Mapping) else "",)
    if isinstance(searched := domains.get("focus.template_logits"), Choice):
        logits = searched.values
    if "online" in logits and "placebo" in settings.controls.arms:
        problems.append(
            "controls.arms: placebo shuffles stored logits among clips, so it cannot go with "
            "focus.template_logits: online; name the other arms"
        )
    for name, values in (("precision", "fp32 and bf16"), ("compile", "true and false")):
        searched = domains.get(f"compute.{name}")
        if isinstance(searched, Choice) and "auto" in searched.values:
            problems.append(
                f"space.compute.{name}: auto is settled once for a whole study; name {values}"
            )
    compute = settings.trial.get("compute")
    for name, value in (("device", "cuda"), ("compile", True)):
        wants_gpu = isinstance(compute, Mapping) and compute.get(name) == value
        if wants_gpu and resources.gpu == 0:
            word = "true" if value is True else value
            problems.append(f"resources.gpu: must be above 0 where trial.compute.{name} is {word}")


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
    eval_epochs = space.example().compute.eval_epochs
    if scheduler.name == "asha" and eval_epochs > scheduler.grace_epochs:
        problems.append(
            "trial.compute.eval_epochs: must be at most search.scheduler.grace_epochs "
            f"({scheduler.grace_epochs}), after which trials are compared, received {eval_epochs}"
        )
