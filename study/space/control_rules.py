"""Rules on searches of control arms, ``controls.search``; each yields one message a broken rule."""

from collections.abc import Iterator, Mapping
from typing import Any

from focusnet.arms import STUDENT_ONLY, uses
from focusnet.system.validation import nearest
from study.space.domains import Domain, Range, parse_domain
from study.space.setting_paths import unknown_path
from study.space.settings import SpaceSettings
from study.space.space import Space

_LATER = ("focus.", "student.")  # settings of the stages after the template
# They decide which templates there are, which all arms share.
_OF_TEMPLATES = ("focus.template_logits", "focus.folds")


def control_domains(content: Any) -> dict[str, dict[str, Domain]]:
    """The valid domains of each arm that ``controls.search`` names."""
    found: dict[str, dict[str, Domain]] = {}
    for arm, section in content.items() if isinstance(content, Mapping) else ():
        found[str(arm)] = {}
        for path, stated in section.items() if isinstance(section, Mapping) else ():
            domain, _ = parse_domain(stated)
            if domain is not None and unknown_path(str(path)) is None:
                found[str(arm)][str(path)] = domain
    return found


def control_search_problems(
    settings: SpaceSettings, domains: Mapping[str, Domain]
) -> Iterator[str]:
    """Rules that need no valid trial: arms, parameters, and what FocusNet's own search must be."""
    searches = settings.controls.search
    for arm, section in searches.items():
        here = f"controls.search.{arm}"
        if arm not in settings.control_arms:
            hint = nearest(arm, list(settings.control_arms))
            yield f"{here}: must be one of controls.arms{hint}"
            continue
        if not section:
            yield f"{here}: must name a parameter to search"
        if arm in STUDENT_ONLY and not settings.search.metric.startswith("student/"):
            yield (
                f"{here}: has a student only, so search.metric must be a student's, such as "
                f"student/select/macro_accuracy, received {settings.search.metric}"
            )
        for path, stated in section.items():
            for problem in _parameter_problems(arm, str(path), stated, settings):
                yield f"{here}.{path}: {problem}"
    if not searches:
        return
    if not settings.search.is_fixed:
        yield (
            "controls.search: needs a search that no result steers (sobol, random or grid, without "
            f"scheduler), received search.algorithm {settings.search.algorithm} with scheduler "
            f"{settings.search.scheduler.name}"
        )
    own = [p for p in domains if p != settings.search.stratify and not p.startswith(_LATER)]
    if unshared := [path for path in (*own, *_OF_TEMPLATES) if path in domains]:
        yield (
            "controls.search: needs one template for all trials of a stratum, so space must not "
            f"hold {unshared[0]}"
        )
    template = settings.trial.get("template")
    if isinstance(template, Mapping) and template.get("reuse") is False:
        yield "controls.search: needs trial.template.reuse: true, received false"


def _parameter_problems(arm: str, path: str, stated: Any, settings: SpaceSettings) -> Iterator[str]:
    unknown = unknown_path(path)
    domain, problems = parse_domain(stated)
    yield from problems
    if unknown:
        yield unknown
    elif not path.startswith(_LATER) or path in _OF_TEMPLATES:
        yield (
            "must be a setting of focus or student that changes no template, because arms share "
            "them"
        )
    elif not uses(arm, path):
        yield f"arm {arm} does not use this setting"
    elif path == settings.search.stratify:
        yield "is search.stratify, which has a value in each stratum"
    if settings.search.algorithm == "grid" and isinstance(domain, Range):
        yield f"a grid needs {{choice: [...]}}, received {domain.content()}"


def control_budget_problems(space: Space) -> Iterator[str]:
    """The rule on the number of trials, which follows from a valid space."""
    if space.search.algorithm == "grid":
        return  # every point, if these are fewer
    most = max(space.trials_of(stratum) for stratum in space.strata)
    for arm in space.control_searches:
        points = space.of_control(arm).points
        if most > points:
            yield (
                f"controls.search.{arm}: has {int(points)} distinct configurations, fewer than the "
                f"{most} trials of FocusNet's search, of which an arm gets as many"
            )
