"""Compares FocusNet with each other arm over all strata, and says in order what is claimed.

The order is a gate: over the template; over the placebo; over label smoothing and distillation,
of which all that were run must be beaten. A later comparison is claimed only if all earlier ones
are gains. Other arms are described. The strata of the comparison with the template are a second
family. ``focusnet.statistics`` has the formulas, docs/statistics.md the reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analysis.inference.confirmation import ENDED, Confirmation, Network, training_of
from analysis.inference.order import NOT_CLAIMED, ordered_verdicts
from analysis.inference.plan import ConfirmationPlan
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, PLACEBO, STUDENT_ONLY
from focusnet.statistics.cells import Locations
from focusnet.statistics.noise import Noise, noise_components
from focusnet.statistics.pooled import FEWEST_SEEDS, Effect, Floats, Halves, pooled_effect, trend
from focusnet.statistics.verdict import study_verdicts

RIVALS = ("label_smoothing", "distillation")  # simpler losses of a second training
STEPS: tuple[tuple[str, ...], ...] = ((TEMPLATE,), (PLACEBO,), RIVALS)  # in the order of the claims
# Beside those of ``focusnet.statistics.verdict``.
INCOMPLETE = "not complete"  # trials are to come
UNTESTED = "not tested"  # too few seeds


@dataclass(frozen=True)
class Comparison:
    """FocusNet against one arm.

    Attributes:
        against: ``template`` or an arm.
        average: effect averaged over ``strata``; None where no stratum can be judged.
        by_stratum: effect in each stratum that can be judged.
        trend: change of the effect as the stratum's value doubles; None where that means nothing.
        seeds: of each stratum of ``by_stratum``.
        complete: whether all trials of this comparison up to the last look have ended.
        noise: of the study, in this comparison.
        verdict: on the average.
        stratum_verdicts: on each stratum; only against the template.
    """

    against: str
    average: Effect | None
    by_stratum: Mapping[Any, Effect]
    trend: Effect | None
    seeds: Mapping[Any, int]
    complete: bool
    noise: Noise | None
    verdict: str = UNTESTED
    stratum_verdicts: Mapping[Any, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claims:
    """All comparisons of a study: those of ``STEPS`` first, each with its verdict.

    Attributes:
        comparisons: by arm.
        steps: for each step of ``STEPS`` that was run, its arms and the verdict on all of them.
        level: p-value at which the average claims.
        margin: in points.
        plan: of the study.
    """

    comparisons: Mapping[str, Comparison]
    steps: tuple[tuple[tuple[str, ...], str], ...]
    level: float
    margin: float
    plan: ConfirmationPlan

    @property
    def template(self) -> Comparison:
        return self.comparisons[TEMPLATE]


def study_claims(
    confirmations: Mapping[Any, Confirmation],
    plan: ConfirmationPlan,
    arms_asked: Sequence[str] = (),
    network: Network = "teacher",
) -> Claims:
    """Compare FocusNet with the template and every other arm, and apply the order.

    Args:
        confirmations: by the stratum's value, of all strata.
        arms_asked: control arms that the study asks for.
        network: what is compared: the second stages, or the students that they have taught.
    """
    found = dict.fromkeys(arm for one in confirmations.values() for arm in one.arms(network))
    arms = list(dict.fromkeys([TEMPLATE, *arms_asked, *found]))
    if network == "teacher":
        arms = [arm for arm in arms if arm == TEMPLATE or arm not in STUDENT_ONLY]
    compared = {arm: _compare(confirmations, plan, arm, network) for arm in arms if arm != FOCUSNET}
    order = [own for step in STEPS if (own := tuple(arm for arm in step if arm in compared))]
    compared |= _with_verdicts(compared, order, plan)
    steps = tuple((step, _weakest([compared[arm].verdict for arm in step])) for step in order)
    return Claims(compared, steps, plan.level, plan.margin, plan)


def _with_verdicts(
    compared: Mapping[str, Comparison], order: Sequence[tuple[str, ...]], plan: ConfirmationPlan
) -> dict[str, Comparison]:
    """The comparisons of the steps with their verdicts, up to the first that cannot be judged."""
    ready: list[list[Effect]] = []
    found: dict[str, Comparison] = {}
    blocked = False
    for step in order:
        own = [compared[arm] for arm in step]
        effects = [one.average for one in own if one.average is not None]
        judged = len(effects) == len(own) and all(one.complete for one in own)
        if judged and not blocked:
            # A variance of locations that cannot be known leaves p unknown.
            judged = not any(np.isnan(effect.p_value()).any() for effect in effects)
        if judged and not blocked:
            ready.append(effects)
            verdicts_of = ordered_verdicts(ready, plan.level, plan.margin)[-1]
            words = [str(one[0]) for one in verdicts_of]
        else:
            why = [UNTESTED if one.complete else INCOMPLETE for one in own]
            words = [NOT_CLAIMED] * len(own) if blocked or _is_closed(found) else why
            blocked = True
        for arm, word in zip(step, words, strict=True):
            found[arm] = replace(compared[arm], verdict=word)
    one = found[TEMPLATE]
    if one.average is not None and one.verdict not in (INCOMPLETE, UNTESTED):
        values = list(one.by_stratum.values())
        _, strata = study_verdicts(one.average, values, plan.level, plan.margin)
        words_of = {v: str(own[0]) for v, own in zip(one.by_stratum, strata, strict=True)}
        found[TEMPLATE] = replace(one, stratum_verdicts=words_of)
    return found


def _is_closed(found: Mapping[str, Comparison]) -> bool:
    """Whether an earlier comparison is not a gain, so that no later one will be claimed."""
    return any(one.verdict != "gain" for one in found.values())


def _compare(
    confirmations: Mapping[Any, Confirmation],
    plan: ConfirmationPlan,
    against: str,
    network: Network,
) -> Comparison:
    """Effects of FocusNet against one arm; no verdicts."""
    owner, _ = training_of(against, network)
    asked = {value: one for value, one in confirmations.items() if plan.seeds(value)}
    complete = bool(asked) and all(
        one.to_come(FOCUSNET) == 0 and one.to_come(owner) == 0 for one in asked.values()
    )
    if plan.are_planned:  # the driver judges a look when it is complete, and records it
        complete = bool(plan.records) and (
            against == TEMPLATE or all(_has_same_seeds(one, owner) for one in asked.values())
        )
    seeds = {value: _common_seeds(one, owner) for value, one in confirmations.items()}
    seeds = {v: own for v, own in seeds.items() if _can_be_judged(confirmations[v], own, plan)}
    if not seeds:
        return Comparison(against, None, {}, None, {}, complete, None)
    arm, other = (
        [confirmations[value].cells(name, own, network) for value, own in seeds.items()]
        for name in (FOCUSNET, against)
    )
    halves = [confirmations[value].judged_on(own) for value, own in seeds.items()]
    locations = next(one.locations for one in confirmations.values() if one.locations is not None)
    average, strata = pooled_effect(arm, other, *design_of(locations), halves)
    return Comparison(
        against,
        average,
        dict(zip(seeds, strata, strict=True)),
        _trend(list(seeds), arm, other, locations, halves),
        {value: len(own) for value, own in seeds.items()},
        complete,
        noise_components(arm, other, *design_of(locations), halves),
    )


def design_of(locations: Locations) -> tuple[Any, Any, Any]:
    """Scene, half and clips, as ``pooled_effect`` takes them."""
    return locations.scene, locations.half, locations.clips


def accuracy_of(
    confirmation: Confirmation, arm: str, plan: ConfirmationPlan, network: Network = "teacher"
) -> Effect | None:
    """Macro accuracy of an arm in a stratum, as its effect over a model that is never right."""
    seeds = _common_seeds(confirmation, training_of(arm, network)[0])
    if not _can_be_judged(confirmation, seeds, plan) or confirmation.locations is None:
        return None
    cells = confirmation.cells(arm, seeds, network)
    design = design_of(confirmation.locations)
    return pooled_effect([cells], [0 * cells], *design, [confirmation.judged_on(seeds)])[0]


def _common_seeds(confirmation: Confirmation, arm: str) -> tuple[int, ...]:
    """Seeds that FocusNet and an arm have both finished with."""
    return tuple(sorted({*confirmation.seeds(FOCUSNET)} & {*confirmation.seeds(arm)}))


def _has_same_seeds(confirmation: Confirmation, arm: str) -> bool:
    """Whether an arm's trials have ended for each seed that FocusNet has."""
    trials = confirmation.trials
    ended = trials[(trials["arm"] == arm) & trials["status"].isin(ENDED)]
    return set(confirmation.seeds(FOCUSNET)) <= set(ended["seed"])


def _can_be_judged(
    confirmation: Confirmation, seeds: Sequence[int], plan: ConfirmationPlan
) -> bool:
    """Whether the seeds show the noise of trainings, in each half that the plan has."""
    halves = len(set(confirmation.judged_on(seeds).tolist())) if seeds else 0
    if plan.cross_fit:
        return halves == 2 and len(seeds) >= FEWEST_SEEDS
    return len(seeds) >= FEWEST_SEEDS - 1


def _trend(
    values: Sequence[Any], arm: list[Floats], other: list[Floats], locations: Locations,
    halves: Halves,
) -> Effect | None:  # fmt: skip
    """Slope over the binary logarithm of the strata; None unless they are positive numbers."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or len(set(numbers)) < 2 or min(numbers) <= 0:
        return None
    position = np.log2(np.array(numbers, dtype=np.float64)).tolist()
    return trend(arm, other, *design_of(locations), position, halves)


def _weakest(verdicts_of_arms: Sequence[str]) -> str:
    """``gain`` only if all are gains; else what keeps the step from being one."""
    if len(set(verdicts_of_arms)) == 1:
        return verdicts_of_arms[0]
    for one in (INCOMPLETE, UNTESTED, NOT_CLAIMED, "loss", "no gain", "small"):
        if one in verdicts_of_arms:
            return "no gain" if one == "small" else one
    return "undecided"
