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
from study.space.confirm_rules import cross_fits, strata_of
from study.space.control_rules import control_domains
from study.space.domains import Domain, parse_domain
from study.space.rules import budget_problems, section_problems
from study.space.setting_paths import unknown_path, with_absolute_paths
from study.space.settings import SpaceSettings
from study.space.space import Space, with_values
from study.space.student_rules import student_problems

# Settings of a trial that the study sets itself.
_SET_BY_STUDY = {
    "seed": "is set by the study: see search.seed, controls.seeds and confirm.seeds",
    "arm": "is set by the study: FocusNet in the search, and controls.arms",
    "student.teacher_seeds": "is set by the study: with teachers: ensemble, from confirm",
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
        problems += _control_value_problems(content, trial, domains)
    if settings is not None:
        problems += section_problems(settings, domains)
    if problems or settings is None or base is None:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    valid = _space(settings, domains, base)
    if problems := [*budget_problems(valid), *student_problems(settings, valid)]:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    return valid


def _space(settings: SpaceSettings, domains: dict[str, Domain], base: TrialConfig) -> Space:
    seed = settings.search.seed
    control_seeds = [seed] if settings.controls.seeds is None else settings.controls.seeds
    confirm, crosswise = settings.confirm, cross_fits(settings, domains)
    looks = confirm.counts(strata_of(settings, domains) or ())
    by_stratum = confirm.looks is not None or isinstance(confirm.seeds, dict) or crosswise
    shared = not by_stratum or not max(looks[-1].values(), default=0)
    return Space(
        settings.name,
        settings.search.resolved(),
        settings.resources,
        domains,
        base.model_copy(update={"seed": seed}),
        control_arms=settings.control_arms,
        control_searches=control_domains(settings.controls.search),
        control_seeds=tuple(control_seeds),
        confirm_seeds=tuple(confirm.shared_seeds({seed, *control_seeds})) if shared else (),
        confirm_looks=() if shared else tuple(looks),
        looks_planned=confirm.looks is not None and not shared,
        cross_fit=crosswise,
        confirm_margin=confirm.margin,
        confirmed_weights=confirm.keep_weights,
        tracking=settings.tracking,
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
        f"trial.{path}: {why}; received {stated!r}"
        for path, why in _SET_BY_STUDY.items()
        if (stated := stated_in(trial, path)) is not None
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
        problems += _value_problems("space", path, domain, stated, known)
    return base, problems


def stated_in(trial: Mapping[str, Any], path: str) -> Any:
    """What a trial that may be invalid states at a dotted path; None if nothing."""
    inside: Any = trial
    for part in path.split("."):
        inside = inside.get(part) if isinstance(inside, Mapping) else None
    return inside


def _control_value_problems(
    content: Mapping[str, Any], trial: Mapping[str, Any], domains: Mapping[str, Domain]
) -> Iterator[str]:
    """Problems of the values that searches of control arms may set."""
    controls = content.get("controls")
    searches = controls.get("search") if isinstance(controls, Mapping) else None
    stated = with_values(trial, {path: domain.extremes()[0] for path, domain in domains.items()})
    known = {location for location, _ in _check(stated)[1]}
    for arm, own in control_domains(searches).items():
        for path, domain in own.items():
            yield from _value_problems(f"controls.search.{arm}", path, domain, stated, known)


def _value_problems(
    section: str, path: str, domain: Domain, stated: Mapping[str, Any], known: set[Location]
) -> Iterator[str]:
    """Rules that a searched value breaks, each once, with the first value that breaks it.

    ``section``: of the space file, in which the parameter is.
    ``known``: locations of the rules that ``stated`` breaks already.
    """
    own = tuple(path.split("."))
    reported: set[str] = set()
    for value in domain.extremes():
        for location, message in _check(with_values(stated, {path: value}))[1]:
            rule = message.partition(", received ")[0]
            if rule not in reported and (location == own or location not in known):
                reported.add(rule)
                with_value = "" if location == own else f" (with {value!r})"
                yield f"{section}.{path}: {message}{with_value}"


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
