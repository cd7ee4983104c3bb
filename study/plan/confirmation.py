"""Describes the confirmation of a study for its plan: looks, what they cost and can detect."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from study.plan.detection import ASSUMED, Detection, ExpectedNoise, detections, seeds_to_detect
from study.space.space import Space


def describe_confirmation(
    space: Space, noise: ExpectedNoise = ASSUMED, detect: float | None = None
) -> Iterator[str]:
    """Lines on looks, trainings and detectable effects; ``detect`` asks for one effect."""
    if not any(map(space.seeds_of, space.strata)):
        yield "none, so the report cannot make claims about FocusNet"
        return
    yield from _who(space)
    found = detections(space, noise)
    if space.looks_planned:
        yield from _looks(space, found)
    elif found:
        yield f"detects {_points(found[-1])} on average, with a probability of 80 %"
    else:
        yield "too few seeds to show the noise of trainings, so nothing can be claimed"
    if found:
        yield f"noise {noise.source}"
    if detect is not None:
        yield _answer(space, found, noise, detect)


def _who(space: Space) -> Iterator[str]:
    arms = len(space.control_arms)
    trainings = sum(map(space.seeds_of, space.strata))
    who = "each winner and its controls" if arms else "each winner"
    if not space.confirm_looks:
        yield f"{trainings * (1 + arms)} trials: {who} retrained, {_numbers(space.confirm_seeds)}"
    elif not space.looks_planned:
        yield f"{trainings * (1 + arms)} trials: {who} retrained, {_each(space, _last(space))}"
    else:
        yield (
            f"{len(space.confirm_looks)} planned looks; a gain, a loss or an effect surely below "
            f"{points_text(space.confirm_margin)} ends it"
        )
    if space.cross_fit:
        yield "cross-fitted: two winners a stratum, each judged on the half that did not choose it"


def _looks(space: Space, found: Sequence[Detection]) -> Iterator[str]:
    before = 0
    for number, look in enumerate(found, 1):
        total = sum(look.seeds.values())
        yield (
            f"look {number}: {total - before} trainings of template and FocusNet, {total} in all "
            f"({_each(space, look.seeds)}); claims at p {look.level:.2g}, detects {_points(look)}"
        )
        before = total
    first = sum(found[0].seeds.values())
    arms = len(space.control_arms)
    tuning = sum(map(space.tunings_of, space.strata))
    controls = tuning + arms * (before + len(space.strata) * len(space.control_seeds))
    if arms:
        yield f"after a gain: controls, {tuning + arms * first} to {controls} second stages"
    yield f"in all {first} to {before} trainings, and up to {controls} second stages of controls"


def _points(found: Detection) -> str:
    return "nothing" if math.isinf(found.points) else f"{found.points:.2g} points"


def points_text(points: float) -> str:
    """Such as ``1 point``."""
    return f"{points:g} point{'' if points == 1 else 's'}"


def _answer(space: Space, found: Sequence[Detection], noise: ExpectedNoise, points: float) -> str:
    for number, look in enumerate(found, 1):
        if look.points <= points:
            which = f"look {number} of {len(found)}" if space.looks_planned else "this confirmation"
            return (
                f"to detect {points_text(points)} (80 %): {which}, after "
                f"{sum(look.seeds.values())} trainings ({_each(space, look.seeds)})"
            )
    if not found:
        return f"to detect {points_text(points)} (80 %): more seeds are needed"
    seeds = seeds_to_detect(space, points, noise)
    if seeds is None:
        return (
            f"to detect {points_text(points)} (80 %): not with any number of seeds, because "
            "locations alone differ too much"
        )
    return (
        f"to detect {points_text(points)} (80 %): not planned; it would take "
        f"{sum(seeds.values())} trainings ({_each(space, seeds)})"
    )


def _last(space: Space) -> Mapping[Any, int]:
    return space.confirm_looks[-1]


def _each(space: Space, seeds: Mapping[Any, int]) -> str:
    """Such as ``seeds 12, 10, 8 of the strata``."""
    counts = list(seeds.values())
    if len(set(counts)) == 1:
        each = "" if space.search.stratify is None else " a stratum"
        return f"{counts[0]} seeds{each}"
    return f"{', '.join(map(str, counts))} seeds by stratum"


def _numbers(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))
