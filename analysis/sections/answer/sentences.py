"""Says in sentences what a study claims: on average, over the controls, by stratum, and a trend."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.inference.comparisons import (
    INCOMPLETE,
    NOT_CLAIMED,
    RIVALS,
    UNTESTED,
    Claims,
    Comparison,
)
from analysis.read_study import Study
from analysis.render.document import counted, interval, points
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, PLACEBO, label_of
from focusnet.statistics.pooled import Effect
from focusnet.statistics.verdict import (
    SMALL_LEVEL,
    STRATA_ALPHA,
    STRATA_ALPHA_ALONE,
)

HOUR = 3600
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


TEACHERS = "FocusNet with searched settings", "its template"
STUDENTS = "the student taught by FocusNet with searched settings", "the template's student"


def headline(study: Study, claims: Claims, names: tuple[str, str] = TEACHERS) -> str:
    """The answer: the effect averaged over strata, its intervals and the verdict.

    Args:
        names: of what is compared: FocusNet, and its template.
    """
    one = claims.template
    assert one.average is not None
    estimate = float(one.average.estimate[0])
    how = {
        "gain": f"gains {signed(estimate)} points over",
        "loss": f"loses {abs(estimate):.1f} points against",
    }.get(one.verdict, f"differs by {signed(estimate)} points from")
    subject, other = names
    first = subject[0].upper() + subject[1:]
    start = f"{averaged_over(study, one)}{subject}" if study.stratify else first
    meaning = _meaning(study, claims)
    return f"{start} {how} {other} ({both_intervals(one.average)}): {meaning}."


def averaged_over(study: Study, one: Comparison) -> str:
    """Such as ``Averaged over five subsets, ``."""
    judged, every = len(one.by_stratum), len(study.strata)
    of = f"{number_word(judged)} of {number_word(every)}" if judged < every else number_word(every)
    return f"Averaged over {of} {strata_name(study, every)}, "


def strata_name(study: Study, count: int) -> str:
    """Such as ``subsets``."""
    return (study.stratify or "search").rpartition(".")[2] + ("" if count == 1 else "s")


def number_word(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def both_intervals(effect: Effect) -> str:
    """The 95 % intervals for new locations and for these."""
    new, here = (ends(effect, locations=locations) for locations in (True, False))
    if math.isnan(float(effect.location_variance[0])):
        return f"95 %: {here} on these locations; new ones cannot be judged"
    return f"95 %: {new} at new locations; {here} on these"


def ends(effect: Effect, level: float = 0.95, *, locations: bool = True) -> str:
    """An interval of an effect, such as ``-0.4 to +1.7``."""
    low, high = effect.interval(level, locations=locations)
    return interval(float(low[0]) / 100, float(high[0]) / 100)


def signed(value: float) -> str:
    """A number of points with its sign."""
    return points(value / 100)


def margin_of(claims: Claims) -> str:
    return f"{claims.margin:g} point" + ("" if claims.margin == 1 else "s")


def verdict_words(verdict: str, claims: Claims) -> str:
    """A verdict at the end of a sentence."""
    return {
        "gain": "a gain",
        "loss": "a loss",
        "small": f"smaller than {margin_of(claims)} either way",
        "no gain": f"no gain of {margin_of(claims)} or more",
    }.get(verdict, verdict)


def verdict_cell(verdict: str, claims: Claims) -> str:
    """A verdict in a table."""
    return verdict_words(verdict, claims).removeprefix("a ")


def _meaning(study: Study, claims: Claims) -> str:
    one = claims.template
    assert one.average is not None
    text = verdict_words(one.verdict, claims)
    narrow = ends(one.average, SMALL_LEVEL)
    if one.verdict in ("small", "no gain"):
        return f"{text} ({100 * SMALL_LEVEL:g} %: {narrow})"
    if one.verdict == "undecided":
        return f"{text}, {narrow} ({100 * SMALL_LEVEL:g} %); {_what_next(study, claims)}"
    return text


def _what_next(study: Study, claims: Claims) -> str:
    """What the next look costs, or what more seeds would give."""
    plan, noise = study.plan, claims.template.noise
    following = plan.next_look()
    if following is None:
        if noise is None:
            return "no further look is planned"
        twice = [(count, count) for count in noise.seeds]  # half of twice as many, on each half
        if not plan.cross_fit:
            half = 1.96 * noise.effect_sd([(2 * count,) for count in noise.seeds])
        else:
            half = 1.96 * noise.effect_sd(twice)
        return (
            "no further look is planned; with twice as many seeds the interval would reach about "
            f"{half:.1f} points either way"
        )
    more = {
        one.value: plan.seeds(one.value, following) - plan.seeds(one.value, plan.looks_taken)
        for one in study.strata
    }
    trainings = 2 * sum(more.values())  # FocusNet and its template
    return f"the next look costs {counted(trainings, 'training')}{_hours(study, more)}"


def _hours(study: Study, more: Mapping[Any, int]) -> str:
    """Hours of further trials by the median of those that have run; empty where none is known."""
    seconds = 0.0
    for stratum in study.strata:
        trials = stratum.confirmation.trials
        own = trials[(trials["status"] == "finished") & (trials["arm"] == FOCUSNET)]
        if "seconds" not in own or own["seconds"].dropna().empty:
            return ""
        seconds += more[stratum.value] * float(own["seconds"].astype(float).median())
    return f" (about {seconds / HOUR:.2g} hours of trials)"


def arm_sentences(study: Study) -> Iterable[str]:
    """What is claimed over the controls, in their order."""
    claims = study.claims
    if claims.template.verdict in (INCOMPLETE, UNTESTED):
        return
    later = [(arms, verdict) for arms, verdict in claims.steps if TEMPLATE not in arms]
    for arms, verdict in later:
        named = " and ".join(label_of(arm) for arm in arms)
        if verdict == NOT_CLAIMED:
            yield f"Over {named}: nothing is claimed, because an earlier comparison is not a gain."
            continue
        if verdict == INCOMPLETE:
            yield f"Over {named}: nothing is claimed yet, because trials are to come."
            continue
        if verdict == UNTESTED:
            yield f"Over {named}: not tested, because too few seeds are left."
            continue
        found = [claims.comparisons[arm] for arm in arms]
        effects = ", ".join(
            f"{signed(float(one.average.estimate[0]))} points ({both_intervals(one.average)})"
            for one in found
            if one.average is not None
        )
        yield f"Over {named}: {effects}: {verdict_words(verdict, claims)}."
    yield conclusion(claims)


def conclusion(claims: Claims) -> str:
    """What the verdicts mean together."""
    verdicts = {arm: verdict for arms, verdict in claims.steps for arm in arms}
    if verdicts[TEMPLATE] == "loss":
        return "FocusNet is worse than the template that it was trained with."
    if verdicts[TEMPLATE] != "gain":
        return ""
    if set(verdicts) == {TEMPLATE}:
        return "Without controls it is not shown what in FocusNet's loss helps."
    if verdicts.get(PLACEBO, "gain") != "gain":
        return (
            "FocusNet's loss helps; it is not shown that what the template confused in each clip "
            "matters."
        )
    rivals = [verdicts[arm] for arm in RIVALS if arm in verdicts]
    matters = "what the template confused in each clip matters"
    if any(verdict != "gain" for verdict in rivals):
        start = "FocusNet helps" if PLACEBO not in verdicts else matters.capitalize()
        return f"{start}; it is not shown that FocusNet beats every simpler loss."
    if PLACEBO not in verdicts:
        return "FocusNet helps more than simpler losses; placebo masks were not tried."
    if not rivals:
        return f"FocusNet helps, and {matters}; simpler losses were not tried."
    return f"FocusNet helps, {matters}, and it beats simpler losses."


def strata_sentence(study: Study) -> str:
    """The verdicts by stratum, in the order of the study; empty for a single search."""
    claims = study.claims
    one = claims.template
    if not study.stratify or one.verdict in (INCOMPLETE, UNTESTED):
        return ""
    parts = [
        f"{study.labels[value]} {signed(float(effect.estimate[0]))}, "
        f"{verdict_words(one.stratum_verdicts[value], claims)}"
        for value, effect in one.by_stratum.items()
    ]
    claimed = one.verdict in ("gain", "loss")
    level = STRATA_ALPHA if claimed else STRATA_ALPHA_ALONE
    why = "the average claims something" if claimed else "the average claims nothing"
    return f"By {strata_name(study, 1)} ({100 * level:g} % over all, since {why}): " + (
        "; ".join(parts) + "."
    )


def trend_sentence(study: Study) -> str:
    """Whether the effect changes with the stratum's value; empty where that means nothing."""
    one = study.claims.template
    if one.trend is None or one.verdict in (INCOMPLETE, UNTESTED):
        return ""
    slope, p = float(one.trend.estimate[0]), float(one.trend.p_value()[0])
    name = (study.stratify or "").rpartition(".")[2]
    found = (
        "the effect changes with it" if p <= STRATA_ALPHA else "no change with it is shown"
    )  # a question of its own
    return (
        f"Trend: as {name} doubles, the effect changes by {signed(slope)} points "
        f"(95 %: {ends(one.trend)}; p {p_text(p)}): {found}."
    )


def p_text(p: float) -> str:
    if math.isnan(p):
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def join(parts: Sequence[str]) -> str:
    return " ".join(part for part in parts if part)
