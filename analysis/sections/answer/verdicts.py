"""Answers whether FocusNet helps: one sentence, one figure, and the tables behind them."""

from collections.abc import Iterable

import numpy as np

from analysis.figures.confirmation import EffectRow, draw_effects
from analysis.inference.comparisons import (
    INCOMPLETE,
    NOT_CLAIMED,
    STEPS,
    UNTESTED,
    Claims,
    Comparison,
)
from analysis.read_study import Stratum, Study
from analysis.render.document import Block, Bullets, Figure, Section, Table, counted
from analysis.sections.answer.looks import looks_blocks
from analysis.sections.answer.sentences import (
    arm_sentences,
    ends,
    headline,
    join,
    margin_of,
    number_word,
    p_text,
    signed,
    strata_name,
    strata_sentence,
    trend_sentence,
    verdict_cell,
)
from analysis.sections.answer.students import student_sentences, student_tables
from analysis.sections.search_results import search_blocks, winner_warnings
from analysis.sections.wording import lone_locations_note
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, REFERENCE, label_of
from focusnet.statistics.verdict import STRATA_ALPHA, STRATA_ALPHA_ALONE, holm

FEW_SEEDS = 4  # of a stratum; fewer make its interval very wide
ARMS_HEADER = ("FocusNet against", "settings", "seeds", "effect", "95 % new locations",
               "95 % these locations", "p", "verdict")  # fmt: skip
STRATA_HEADER = ("stratum", "seeds", "effect", "95 % new locations", "95 % these locations",
                 "p (Holm)", "verdict")  # fmt: skip


def answer_section(study: Study) -> Section:
    """The answer where any stratum can be judged, else why not and what the search found."""
    template = study.claims.template
    if template.average is None:
        return Section("Answer", [_why_no_verdict(study), *search_blocks(study)])
    blocks: list[Block] = list(student_sentences(study))
    if template.verdict == INCOMPLETE:
        blocks += [_why_no_verdict(study), _so_far(study)]
    else:
        blocks.append(headline(study, study.claims))
        blocks += [one for one in arm_sentences(study) if one]
        blocks.append(join([strata_sentence(study), trend_sentence(study)]))
    blocks = [one for one in blocks if one]
    blocks += [*student_tables(study), _effects_figure(study), _arms_table(study)]
    if study.stratify:
        blocks.append(_strata_table(study))
    blocks += looks_blocks(study)
    return Section("Answer", [*blocks, _method(study), Bullets(list(_limits(study)))])


def _why_no_verdict(study: Study) -> str:
    lead = "No claim can be made yet: "
    if "confirm" not in study.space:
        return f"{lead}this study has no confirmation (training again with fresh seeds)."
    plan = study.plan
    asked = sum(plan.seeds(one.value, plan.current_look) for one in study.strata)
    if not asked:
        return f"{lead}the confirmation with fresh seeds is off (confirm.seeds)."
    if study.claims.template.complete:
        return f"{lead}too few fresh seeds are left in every stratum for a test."
    look = f"look {plan.current_look} of {len(plan.looks)}"
    what = look if plan.are_planned else "the confirmation"
    trials = counted(asked, "trial")
    to_come = sum(one.confirmation.to_come() for one in study.strata)
    if to_come == asked:
        return f"{lead}the {trials} of FocusNet for {what} start when the searches have ended."
    if not to_come and plan.are_planned:
        return f"{lead}the {trials} of FocusNet for {what} are done, but it is not taken yet."
    return f"{lead}{to_come} of {trials} of FocusNet for {what} are not done yet."


def _so_far(study: Study) -> str:
    """What is there of a look that is not complete."""
    one = study.claims.template
    assert one.average is not None
    return (
        f"So far FocusNet differs from its template by {signed(float(one.average.estimate[0]))} "
        f"points on average over {number_word(len(one.by_stratum))} of "
        f"{number_word(len(study.strata))} {strata_name(study, len(study.strata))} "
        f"(95 %: {ends(one.average)}). This will change."
    )


def settings_of(study: Study, arm: str) -> str:
    """Where an arm's settings are from, such as ``tuned with 24 trials``."""
    if arm == TEMPLATE:
        return "not tuned"
    if arm in study.tuned_arms:
        counts = [len(one.searches[arm]) for one in study.strata]
        some = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else str(counts[0])
        return f"tuned with {some} trials"
    return "the paper's settings" if arm == REFERENCE else "with FocusNet's settings"


def _seeds(one: Comparison) -> str:
    counts = sorted(set(one.seeds.values()))
    return "-" if not counts else "-".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))


def _arms_table(study: Study) -> Table:
    claims = study.claims
    ordered = [arm for step in STEPS for arm in step if arm in claims.comparisons]
    rows = []
    for arm in _in_order(claims):
        one = claims.comparisons[arm]
        verdict = verdict_cell(one.verdict, claims) if arm in ordered else "described"
        if one.average is None:
            numbers = ("-",) * 4
            verdict = verdict if verdict in (NOT_CLAIMED, INCOMPLETE) else UNTESTED
        else:
            numbers = (
                signed(float(one.average.estimate[0])),
                ends(one.average),
                ends(one.average, locations=False),
                p_text(float(one.average.p_value()[0])),
            )
        rows.append((_arm_name(arm), settings_of(study, arm), _seeds(one), *numbers, verdict))
    return Table(ARMS_HEADER, rows, frozenset({ARMS_HEADER[0], "settings", "verdict"}))


def _in_order(claims: Claims) -> list[str]:
    """The arms as they are compared; those that are described come last."""
    ordered = [arm for step in STEPS for arm in step if arm in claims.comparisons]
    return [*ordered, *(arm for arm in claims.comparisons if arm not in ordered)]


def _arm_name(arm: str) -> str:
    return "its template" if arm == TEMPLATE else label_of(arm)


def _strata_table(study: Study) -> Table:
    claims = study.claims
    one = claims.template
    ps = holm(np.array([float(effect.p_value()[0]) for effect in one.by_stratum.values()]))
    adjusted = dict(zip(one.by_stratum, ps, strict=True))
    rows = []
    for stratum in study.strata:
        effect = one.by_stratum.get(stratum.value)
        if effect is None:
            rows.append((stratum.label, *["-"] * 5, UNTESTED))
            continue
        verdict = one.stratum_verdicts.get(stratum.value, INCOMPLETE)
        if one.verdict == INCOMPLETE:
            verdict = INCOMPLETE
        rows.append(
            (
                stratum.label,
                str(one.seeds[stratum.value]),
                signed(float(effect.estimate[0])),
                ends(effect),
                ends(effect, locations=False),
                p_text(float(adjusted[stratum.value])),
                verdict_cell(verdict, claims),
            )
        )
    return Table(STRATA_HEADER, rows, frozenset({"stratum", "verdict"}))


def _effects_figure(study: Study) -> Figure:
    claims = study.claims
    one = claims.template
    assert one.average is not None
    rows = [EffectRow("average over the template", one.average, "average")]
    if study.stratify:
        rows += [EffectRow(study.labels[v], effect, "stratum")
                 for v, effect in one.by_stratum.items()]  # fmt: skip
    for arm in _in_order(claims):
        other = claims.comparisons[arm]
        if arm != TEMPLATE and other.average is not None:
            rows.append(EffectRow(f"over {label_of(arm)}", other.average, "arm"))
    return Figure(
        "effects.png",
        "Effect of FocusNet on macro accuracy with 95 % intervals: thin for new locations, thick "
        "for the test locations of this study. Average over the template, the template by stratum, "
        f"and averages over the other arms. Grey: less than {margin_of(claims)} either way.",
        "Interval plot of the effects of FocusNet.",
        draw_effects(rows, claims.margin),
    )


def _method(study: Study) -> str:
    plan = study.plan
    if plan.cross_fit:
        halves = (
            "The winner that was chosen on one half of the test locations is judged on the other, "
            "half of the seeds each way, so that every location counts and none by who was chosen "
            "on it."
        )
    else:
        why = (
            "is of an older kind, with one winner chosen on select,"
            if plan.search_is_fixed
            else "is adaptive (each trial depends on the results before it),"
        )
        halves = (
            f"This study's search {why} so only half of the test locations is used: report, which "
            "no search has seen."
        )
    families = (
        " Strata and arms are two families of tests: the average and its strata together claim "
        f"falsely in at most {100 * STRATA_ALPHA:g} % of studies, and so do the arms, which are "
        "compared in a fixed order, a later one only after gains in all earlier ones. "
        f"Strata are tested at {100 * STRATA_ALPHA:g} % after a claim on average, else at "
        f"{100 * STRATA_ALPHA_ALONE:g} %."
    )
    level = (
        f" The average claims a gain or loss at p of at most {study.claims.level:.2g}."
        if study.claims.template.complete
        else ""
    )
    if study.claims.level == 0:
        level = (
            " Looks at earlier winners have spent what may be claimed falsely, so the average "
            "cannot claim a gain or loss."
        )
    trend = " The trend is a question of its own, tested at 5 %." if study.stratify else ""
    return (
        "The winners, and the controls with the same seeds, were trained again with seeds that "
        f"nothing was chosen on and with new templates. {halves} The effect is the difference in "
        "macro accuracy between trainings of the same seed, in points, averaged over strata with "
        f"equal weights.{level} Smaller than {margin_of(study.claims)}, and no gain of it: the "
        f"90 % interval says so.{families}{trend} Intervals are not corrected for the number of "
        "looks or rows. docs/statistics.md has the formulas and how often they err."
    )


def _limits(study: Study) -> Iterable[str]:
    """List what limits the verdicts: failed trials, few seeds or locations, weak winners."""
    for stratum in study.strata:
        yield from _stratum_limits(study, stratum)
    one = study.claims.template
    missing = [s.label for s in study.strata if s.value not in one.by_stratum]
    if missing and one.verdict != INCOMPLETE:
        yield f"Too few seeds to be judged, and not part of the average: {', '.join(missing)}."
    if one.seeds and min(one.seeds.values()) < FEW_SEEDS:
        fewest = min(one.seeds.values())
        yield f"{counted(fewest, 'seed')} in a stratum show little of the noise between trainings."
    if lone := _lone_locations(study):
        yield lone_locations_note(lone)
    yield (
        "Verdicts hold for the winners' settings, this split and these weights. FocusNet against "
        "placebo masks: the template's logits are shuffled among the clips of a scene, so a gain "
        "comes from what the template confused in each clip."
    )
    yield from winner_warnings(study)


def _stratum_limits(study: Study, stratum: Stratum) -> Iterable[str]:
    confirmation = stratum.confirmation
    failed = confirmation.trials[confirmation.trials["status"] == "failed"]
    if len(failed):
        arms = ", ".join(sorted({str(arm) for arm in failed["arm"]}))
        yield (
            f"{stratum.label}: {counted(len(failed), 'confirmation trial')} failed ({arms}); "
            "the comparisons use the seeds that are left. If trials fail because of their arm, "
            "that arm looks better than it is."
        )
    former = confirmation.former
    if len(former):
        own = former[(former["arm"] == FOCUSNET) & former["winner"].notna()]
        winners = own["winner"].nunique()
        yield (
            f"{stratum.label}: {counted(len(former), 'trial')} of "
            f"{counted(winners, 'earlier winner')} are on record and count for nothing. Whoever "
            "has looked at them and gone on has had more than one chance of a false claim."
        )


def _lone_locations(study: Study) -> int:
    """Scenes with a single location in a half that is used."""
    halves = {0, 1} if study.plan.cross_fit else {0}
    known = [one.confirmation.locations for one in study.strata]
    locations = next((one for one in known if one is not None), None)
    if locations is None:
        return 0
    keys = [
        (int(h), int(s))
        for h, s in zip(locations.half, locations.scene, strict=True)
        if h in halves
    ]
    return len({scene for half, scene in keys if keys.count((half, scene)) == 1})
