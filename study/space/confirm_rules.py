"""Rules on the confirmation of a space file; each function yields one message a broken rule."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from focusnet.statistics.pooled import FEWEST_SEEDS
from study.space.domains import Choice, Domain
from study.space.per_stratum import stratum_problems
from study.space.settings import ConfirmSettings, SpaceSettings


def confirm_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    """Rules that need no valid trial, nor valid strata."""
    confirm = settings.confirm
    listed = confirm.seeds if isinstance(confirm.seeds, list) else []
    used = {settings.search.seed, *(settings.controls.seeds or [])}
    if stale := [seed for seed in listed if seed in used]:
        yield (
            "confirm.seeds: must be fresh, neither search.seed nor in controls.seeds, received "
            f"{stale[0]}"
        )
    if confirm.looks is not None and confirm.seeds not in (None, 0):
        yield (
            f"confirm.seeds: confirm.looks states the seeds already, received {confirm.seeds!r}: "
            "give one of them, the other as null"
        )
    if confirm.cross_fit:
        yield from _cross_fit_problems(settings, domains)
    strata = strata_of(settings, domains)
    if strata is not None:
        named = [*_named_problems(settings, strata)]
        yield from named or _count_problems(settings, domains, strata)


def strata_of(settings: SpaceSettings, domains: Mapping[str, Domain]) -> tuple[Any, ...] | None:
    """The strata; None if they are not valid."""
    stratify = settings.search.stratify
    if stratify is None:
        return (None,)
    domain = domains.get(stratify)
    return domain.values if isinstance(domain, Choice) else None


def cross_fits(settings: SpaceSettings, domains: Mapping[str, Domain]) -> bool:
    """``confirm.cross_fit`` with its default filled in."""
    confirm = settings.confirm
    if confirm.cross_fit is not None:
        return confirm.cross_fit
    possible = settings.search.is_fixed and not _keeps_best(settings, domains)
    if isinstance(confirm.seeds, list) and confirm.seeds:
        return False
    fewest = min(
        (n for look in confirm.counts(strata_of(settings, domains) or ()) for n in look.values()),
        default=0,
    )
    # Too few seeds of a plan with looks are reported as a mistake.
    enough = confirm.looks is not None or fewest == 0 or fewest >= FEWEST_SEEDS
    return possible and enough


def _cross_fit_problems(settings: SpaceSettings, domains: Mapping[str, Domain]) -> Iterator[str]:
    search = settings.search
    if not search.is_fixed:
        scheduler = search.scheduler.name
        steers = search.algorithm if scheduler == "none" else f"scheduler {scheduler}"
        yield (
            "confirm.cross_fit: needs a search that no result steers (sobol, random or grid, "
            "without scheduler), because any other carries what one half says into the other, "
            f"received true with {steers}"
        )
    if _keeps_best(settings, domains):
        yield (
            "confirm.cross_fit: needs trial.template.keep: last, because best chooses an epoch on "
            "select, received true with best"
        )
    if isinstance(settings.confirm.seeds, list) and settings.confirm.seeds:
        yield (
            "confirm.cross_fit: needs a number of seeds, because the study numbers them so that "
            "each belongs to one stratum and one half, received true with confirm.seeds: "
            f"{settings.confirm.seeds!r}"
        )


def _named_problems(settings: SpaceSettings, strata: tuple[Any, ...]) -> Iterator[str]:
    known = None if settings.search.stratify is None else strata
    yield from stratum_problems("confirm.seeds", settings.confirm.seeds, known)
    for place, look in enumerate(settings.confirm.looks or []):
        yield from stratum_problems(f"confirm.looks.{place}", look, known)


def _count_problems(
    settings: SpaceSettings, domains: Mapping[str, Domain], strata: tuple[Any, ...]
) -> Iterator[str]:
    confirm = settings.confirm
    counts = confirm.counts(strata)
    for place, (before, after) in enumerate(pairwise(counts), 1):
        if any(after[stratum] <= before[stratum] for stratum in strata):
            yield (
                f"confirm.looks.{place}: seeds must increase from look to look in every stratum, "
                f"received {_look(confirm, place)!r} after {_look(confirm, place - 1)!r}"
            )
    if confirm.seeds == 0:
        return
    crosswise = cross_fits(settings, domains)
    fewest = FEWEST_SEEDS if crosswise else FEWEST_SEEDS - 1
    if confirm.looks is not None and min(counts[0].values()) < fewest:
        yield (
            f"confirm.looks.0: must have at least {fewest} seeds of each stratum, because fewer "
            f"leave the noise of trainings unseen, received {_look(confirm, 0)!r}"
        )
    elif confirm.cross_fit and 0 < min(counts[0].values()) < fewest:
        yield (
            f"confirm.seeds: must be at least {fewest} for each stratum with confirm.cross_fit, "
            "because fewer leave the noise of trainings unseen, received "
            f"{confirm.seeds!r}"
        )


def _look(confirm: ConfirmSettings, place: int) -> Any:
    return (confirm.looks or [])[place]


def _keeps_best(settings: SpaceSettings, domains: Mapping[str, Domain]) -> bool:
    searched = domains.get("template.keep")
    if isinstance(searched, Choice):
        return "best" in searched.values
    template = settings.trial.get("template")
    return isinstance(template, Mapping) and template.get("keep") == "best"
