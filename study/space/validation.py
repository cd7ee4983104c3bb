"""Validates a search space file as a whole, before anything starts.

All problems are reported at once, each with its YAML path, the rule and the value received. Every
value that the search may choose is checked against the rules of the trial, so that no trial fails
for a wrong setting after days of computing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError
from focusnet.system.validation import describe, validate
from study.space.domains import Domain, parse_domain
from study.space.rules import budget_problems, section_problems
from study.space.setting_paths import unknown_path, with_absolute_paths
from study.space.settings import SpaceSettings
from study.space.space import Space, with_values

# Settings of a trial that the study sets itself.
_SET_BY_STUDY = {
    "seed": "is set by the study: see search.seed, controls.seeds and confirm.seeds",
    "arm": "is set by the study: FocusNet in the search, and controls.arms",
}
Location = tuple[str, ...]


def validate_space(content: Mapping[str, Any], source: str) -> Space:
    """Build the space that a file's ``content`` describes.

    ``source`` (the file's name) leads each message. Relative paths are taken from the current
    folder.

    Raises:
        ConfigError: every problem in ``content``.
    """
    problems: list[str] = []
    settings: SpaceSettings | None = None
    base: TrialConfig | None = None
    domains: dict[str, Domain] = {}
    try:
        settings = validate(SpaceSettings, content)
    except ConfigError as error:
        problems += error.problems
    trial, space = content.get("trial"), content.get("space")
    if isinstance(trial, Mapping) and isinstance(space, Mapping):
        domains, found = _domains(space)
        problems += found
        trial, domains = with_absolute_paths(trial, domains)
        base, found = _base_trial(trial, domains)
        problems += found
    if settings is not None:
        problems += section_problems(settings, domains)
    if problems or settings is None or base is None:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    valid = _space(settings, domains, base)
    if problems := list(budget_problems(valid)):
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    return valid


def _space(settings: SpaceSettings, domains: dict[str, Domain], base: TrialConfig) -> Space:
    seed = settings.search.seed
    control_seeds = [seed] if settings.controls.seeds is None else settings.controls.seeds
    return Space(
        settings.name,
        settings.search.resolved(),
        settings.resources,
        domains,
        base.model_copy(update={"seed": seed}),
        control_arms=tuple(settings.controls.arms),
        control_seeds=tuple(control_seeds),
        confirm_seeds=tuple(settings.confirm.resolved({seed, *control_seeds})),
        confirmed_weights=settings.confirm.keep_weights,
    )


def _domains(space: Mapping[Any, Any]) -> tuple[dict[str, Domain], list[str]]:
    """The valid entries of the ``space`` section, and problems of the others."""
    domains: dict[str, Domain] = {}
    problems = []
    for path, content in space.items():
        unknown = unknown_path(str(path))
        domain, wrong = parse_domain(content)
        found = [*([unknown] if unknown else []), *wrong]
        problems += [f"space.{path}: {problem}" for problem in found]
        if domain is not None and not unknown:
            domains[str(path)] = domain
    return domains, problems


def _base_trial(
    trial: Mapping[str, Any], domains: Mapping[str, Domain]
) -> tuple[TrialConfig | None, list[str]]:
    """``Space.base`` if it is valid; problems of it and of the values that the search may set."""
    problems = [
        f"trial.{name}: {why}; received {trial[name]!r}"
        for name, why in _SET_BY_STUDY.items()
        if name in trial
    ]
    problems += [f"space.{name}: {why}" for name, why in _SET_BY_STUDY.items() if name in domains]
    # See Space.base. Searched values are checked below, one at a time.
    overridden = {p: d.extremes()[0] for p, d in domains.items() if not p.startswith("focus.")}
    stated = with_values(trial, overridden)
    base, violations = _check(stated)
    for location, message in violations:
        path = ".".join(location)
        if path not in overridden:
            problems.append(f"trial.{path}: {message}" if path else message)
    known = {location for location, _ in violations}
    for path, domain in domains.items():
        problems += _value_problems(path, domain, stated, known)
    return base, problems


def _value_problems(
    path: str, domain: Domain, stated: Mapping[str, Any], known: set[Location]
) -> Iterator[str]:
    """Rules that a searched value breaks, each once, with the first value that breaks it.

    ``known``: locations of the rules that ``stated`` breaks already.
    """
    own = tuple(path.split("."))
    reported: set[str] = set()
    for value in domain.extremes():
        for location, message in _check(with_values(stated, {path: value}))[1]:
            rule = message.partition(", received ")[0]
            if rule not in reported and (location == own or location not in known):
                reported.add(rule)
                yield f"space.{path}: {message}{'' if location == own else f' (with {value!r})'}"


def _check(trial: Mapping[str, Any]) -> tuple[TrialConfig | None, list[tuple[Location, str]]]:
    """The trial if it is valid, or location and message of every rule that it breaks."""
    try:
        return TrialConfig.model_validate(trial), []
    except ValidationError as error:
        return None, [
            (
                tuple(str(part) for part in problem["loc"]),
                describe(TrialConfig, dict(problem)).partition(": ")[2],
            )
            for problem in error.errors()
        ]
