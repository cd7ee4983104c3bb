"""Rules across the sections of a space file; each function yields one message a broken rule."""

from collections.abc import Iterator, Mapping
from typing import Any

from focusnet.system.validation import nearest
from study.space.confirm_rules import confirm_problems
from study.space.control_rules import control_budget_problems, control_search_problems
from study.space.domains import Choice, Domain, Range
from study.space.per_stratum import stratum_problems
from study.space.settings import SpaceSettings
from study.space.space import Space


def section_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    """Rules that need no valid trial: strata, algorithm, seeds, arms, ``auto`` and GPUs."""
    yield from _stratify_problems(settings, domains)
    yield from _algorithm_problems(settings, domains)
    yield from confirm_problems(settings, domains)
    yield from control_search_problems(settings, domains)
    yield from _placebo_problems(settings, domains)
    yield from _compute_problems(settings, domains)


def _stratify_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    stratify = settings.search.stratify
    if stratify is not None and stratify not in settings.space:
        hint = nearest(stratify, list(settings.space))
        yield f"search.stratify: must name a parameter of space, received '{stratify}'{hint}"
    elif isinstance(domains.get(stratify or ""), Range):
        yield (
            f"search.stratify: '{stratify}' must be a choice, because each of its values gets a "
            "search of its own"
        )
    elif "data.subset" in domains and stratify != "data.subset":
        yield (
            "search.stratify: must be data.subset where space holds it, because more data always "
            f"scores higher: a single search would only find that; received {stratify!r}"
        )


def _algorithm_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    if settings.search.algorithm == "grid":
        for path, domain in domains.items():
            if isinstance(domain, Range):
                yield f"space.{path}: a grid needs {{choice: [...]}}, received {domain.content()}"
    elif settings.search.trials is None:
        yield "search.trials: must be given, the number of trials per stratum"
    yield from _by_stratum_problems("search.trials", settings.search.trials, settings, domains)


def _by_stratum_problems(
    path: str, setting: Any, settings: SpaceSettings, domains: Mapping[str, Domain]
) -> Iterator[str]:
    """Rules on the strata that a setting names, where the strata themselves are valid."""
    stratify = settings.search.stratify
    if stratify is None:
        yield from stratum_problems(path, setting, None)
    elif isinstance(domain := domains.get(stratify), Choice):
        yield from stratum_problems(path, setting, domain.values)


def _placebo_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    logits = (_stated(settings.trial, "focus", "template_logits"),)
    if isinstance(searched := domains.get("focus.template_logits"), Choice):
        logits = searched.values
    if "online" in logits and "placebo" in settings.control_arms:
        yield (
            "controls.arms: placebo shuffles stored logits among clips, so it cannot go with "
            "focus.template_logits: online; name the other arms"
        )


def _compute_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    for name, values in (("precision", "fp32 and bf16"), ("compile", "true and false")):
        searched = domains.get(f"compute.{name}")
        if isinstance(searched, Choice) and "auto" in searched.values:
            yield f"space.compute.{name}: auto is chosen once for a whole study; name {values}"
    only_on_a_gpu = (
        ("device", "cuda"), ("compile", True), ("precision", "tf32"), ("precision", "fp16"),
    )  # fmt: skip
    for name, value in only_on_a_gpu:
        if _stated(settings.trial, "compute", name) == value and settings.resources.gpu == 0:
            word = "true" if value is True else value
            yield f"resources.gpu: must be above 0 where trial.compute.{name} is {word}"


def _stated(trial: Mapping[str, Any], section: str, name: str) -> Any:
    """What the file states for a setting of a trial that may be invalid; None if nothing."""
    stated = trial.get(section)
    return stated.get(name) if isinstance(stated, Mapping) else None


def budget_problems(space: Space) -> Iterator[str]:
    """Rules on the number of trials and epochs, which follow from a valid space."""
    points = space.points
    most = max(space.trials_of(stratum) for stratum in space.strata)
    if most > points:
        yield (
            f"search.trials: the space has {int(points)} distinct configurations per stratum, "
            f"received {most}"
        )
    yield from control_budget_problems(space)
    scheduler = space.search.scheduler
    if scheduler.name != "asha":
        return
    if scheduler.grace_epochs >= space.metric_epochs():
        stage = "student" if space.search.metric.startswith("student/") else "FocusNet stage"
        yield (
            f"search.scheduler.grace_epochs: must be below the epochs of the {stage} "
            f"({space.metric_epochs()}), received {scheduler.grace_epochs}"
        )
    eval_epochs = space.base.compute.eval_epochs
    if eval_epochs > scheduler.grace_epochs:
        yield (
            "trial.compute.eval_epochs: must be at most search.scheduler.grace_epochs "
            f"({scheduler.grace_epochs}), after which trials are compared, received {eval_epochs}"
        )
