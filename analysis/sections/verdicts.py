"""Answers whether FocusNet helps: a verdict per stratum from trainings with fresh seeds."""

import math
from collections.abc import Iterable

import pandas as pd

from analysis.figures.confirmation import draw_effects
from analysis.inference.confirmation import BEST_CONTROL, COMPARISONS
from analysis.inference.several_seeds import FEWEST_SEEDS, POWER
from analysis.inference.verdict import GAIN, LOSS, UNTESTED, title_of, verdicts
from analysis.read_study import Stratum, Study
from analysis.render.document import (
    MISSING,
    Block,
    Bullets,
    Figure,
    Section,
    Table,
    counted,
    interval,
    percent,
    points,
)
from analysis.sections.search_results import search_blocks, winner_warnings
from analysis.sections.wording import INTERVAL, lone_locations_note, stratum_prefix
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import PLACEBO, REFERENCE, label_of
from focusnet.location_interval import LEVEL

DEFAULT_SEEDS = 5
HEADER = (
    "FocusNet against",
    "seeds",
    "FocusNet %",
    "other %",
    "effect",
    INTERVAL,
    "p (Holm)",
    "verdict",
    "detectable",
)


def answer_section(study: Study) -> Section:
    """Verdicts if any stratum is confirmed, else why there are none and what the search found."""
    if study.confirmed:
        return Section("Answer", _verdict_blocks(study, study_effects(study)))
    return Section("Answer", [_why_no_verdict(study), *search_blocks(study)])


def study_effects(study: Study) -> pd.DataFrame:
    """See ``verdict.verdicts``; the strata in the study's order."""
    return verdicts((stratum.value, stratum.confirmation) for stratum in study.strata)


def _why_no_verdict(study: Study) -> str:
    lead = "No claim can be made yet: "
    if "confirm" not in study.space:
        return f"{lead}this study has no confirmation (training again with fresh seeds)."
    asked = sum(stratum.confirmation.asked for stratum in study.strata)
    if not asked:
        return f"{lead}the confirmation with fresh seeds is off (confirm.seeds)."
    to_come = sum(stratum.confirmation.to_come for stratum in study.strata)
    if to_come == asked:
        return (
            f"{lead}the {asked} confirmation trials with fresh seeds start in each stratum when "
            "its search has ended."
        )
    return (
        f"{lead}{to_come} of {asked} confirmation trials with fresh seeds are not done yet, and no "
        "stratum has all of its trials."
    )


def _verdict_blocks(study: Study, table: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = [_headline(study, table), _method(study)]
    for stratum in study.strata:
        value = table["stratum"]
        rows = table[value.isna() if stratum.value is None else value == stratum.value]
        blocks.append(_sentence(study, stratum, rows))
        if stratum.confirmation.is_complete:
            cells = [_row(one) for _, one in rows.iterrows()]
            blocks.append(Table(HEADER, cells, frozenset({HEADER[0], "verdict"})))
    return [*blocks, _effects_figure(study, table), Bullets(list(_limits(study, table)))]


def _effects_figure(study: Study, table: pd.DataFrame) -> Figure:
    return Figure(
        "effects.png",
        f"Effect of FocusNet on macro accuracy with its {INTERVAL} over seeds and locations, by "
        "stratum and comparison. Dotted: the smallest effect in either direction that this study "
        f"detects with {100 * POWER:g} % power, where the axis reaches it.",
        "Interval plots of the effects, a panel for each comparison.",
        draw_effects(
            table,
            {stratum.value: stratum.label for stratum in study.strata},
            [title_of(against) for against in COMPARISONS],
        ),
    )


def _headline(study: Study, table: pd.DataFrame) -> str:
    """Count gains and losses, such as "gain over its own template in 1 of 2 (subset 25)"."""
    labels = {stratum.value: stratum.label for stratum in study.strata}
    parts = []
    for against in COMPARISONS:
        tested = table[(table["against"] == against) & (table["verdict"] != UNTESTED)]
        if tested.empty:
            parts.append(f"not tested against {title_of(against)}")
            continue
        for verdict, preposition in ((GAIN, "over"), (LOSS, "against")):
            where = [labels[value] for value in tested.loc[tested["verdict"] == verdict, "stratum"]]
            if where or verdict == GAIN:
                named = f" ({', '.join(where)})" if where and study.stratify else ""
                parts.append(
                    f"{verdict} {preposition} {title_of(against)} in {len(where)} of "
                    f"{len(tested)}{named}"
                )
    what = "strata" if study.stratify else "searches"
    return f"Does FocusNet help? In the {what} tested with fresh seeds: {'; '.join(parts)}."


def _method(study: Study) -> str:
    seeds = len((study.space.get("confirm") or {}).get("seeds") or [])
    return (
        "Each search's winner, and the controls with its settings where they have them, were "
        f"trained again with {counted(seeds, 'seed')} that nothing was chosen on and with new "
        "templates. Accuracies are macro accuracies on report, the half of the test locations that "
        "no search has seen. The effect is the mean over seeds of the paired difference, in "
        f"points. A gain or loss needs p of at most {1 - LEVEL:.2g} (Holm-corrected over the "
        "strata) and an interval that excludes 0. Detectable: the true effect that "
        f"{100 * POWER:g} % of such studies would find."
    )


def _sentence(study: Study, stratum: Stratum, rows: pd.DataFrame) -> str:
    """State a stratum's verdicts in words."""
    where = stratum_prefix(study, stratum)
    confirmation = stratum.confirmation
    if not confirmation.is_complete:
        return (
            f"{where}not tested yet: {confirmation.to_come} of {confirmation.asked} confirmation "
            "trials are not done."
        )
    kinds = {GAIN: "gain over", LOSS: "loss against"}
    parts = [
        f"{kinds.get(one['verdict'], 'no evidence of a difference from')} "
        f"{title_of(one['against'], one['control'])} "
        f"({points(one['effect'])} points, {interval(one['low'], one['high'])})"
        for _, one in rows.iterrows()
        if one["verdict"] != UNTESTED
    ]
    return f"{where}{'; '.join(parts) or UNTESTED}. {_conclusion(rows)}"


def _conclusion(rows: pd.DataFrame) -> str:
    """Say what a stratum's verdicts mean together."""
    found = dict(zip(rows["against"], rows["verdict"], strict=True))
    template, control, placebo = (found[against] for against in COMPARISONS)
    if template == UNTESTED:
        return f"Fewer than {FEWEST_SEEDS} seeds are left, too few for a test."
    if template == LOSS:
        return "FocusNet is worse than the template that it was trained with."
    if template != GAIN:
        detectable = float(rows.loc[rows["against"] == TEMPLATE, "detectable"].iloc[0])
        missed = (
            "with so few seeds, any effect would often have been missed."
            if detectable > 1
            else f"one below {100 * detectable:.1f} points would often have been missed."
        )
        return f"This does not show that there is no effect: {missed}"
    if control == UNTESTED:
        return "Without controls, training a second time may be all that helps."
    best = rows.loc[rows["against"] == BEST_CONTROL, "control"].iloc[0]
    if control == LOSS:
        return f"A second training helps, but {label_of(best)} helps more."
    if control != GAIN and best == REFERENCE:
        return (
            "No gain is shown over FocusNet with the paper's settings, which is the best control "
            "here; the other controls are below it."
        )
    if control != GAIN:
        return "A second training helps; it is not shown that it has to be FocusNet."
    if placebo == GAIN:
        return "FocusNet helps, and it needs to know what the template confused in each clip."
    return "FocusNet helps; it is not shown that what the template confused matters."


def _row(one: pd.Series) -> tuple[str, ...]:
    p = one["p_holm"]
    return (
        title_of(one["against"], one["control"]),
        str(one["seeds"]),
        percent(one["accuracy"]),
        percent(one["accuracy_against"]),
        points(one["effect"]),
        interval(one["low"], one["high"]),
        MISSING if math.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        one["verdict"],
        "> 100" if one["detectable"] > 1 else percent(one["detectable"]),
    )


def _limits(study: Study, table: pd.DataFrame) -> Iterable[str]:
    """List what limits the verdicts: failed trials, few seeds or locations, weak winners."""
    for stratum in study.strata:
        confirmation = stratum.confirmation
        failed = confirmation.trials[confirmation.trials["status"] == "failed"]
        if len(failed):
            arms = ", ".join(sorted({str(arm) for arm in failed["arm"]}))
            yield (
                f"{stratum.label}: {counted(len(failed), 'confirmation trial')} failed ({arms}); "
                "the comparisons use the seeds that are left. If trials fail because of their arm, "
                "that arm looks better than it is."
            )
        if confirmation.is_complete and confirmation.best_control == REFERENCE:
            yield (
                f"{stratum.label}: the best control is FocusNet itself with the paper's settings. "
                "No gain over it means that the search found nothing better, not that FocusNet "
                "does not help."
            )
    waiting = [one.label for one in study.strata if one.confirmation.to_come > 0]
    if waiting:
        yield (
            f"Not done yet: {', '.join(waiting)}. The correction counts these strata as tests that "
            "found nothing, so that a gain or loss shown now will still be one when they are done."
        )
    if lone := int(table["lone_locations"].max()):
        yield lone_locations_note(lone)
    fewest = table.loc[table["verdict"] != UNTESTED, "seeds"].min()
    if fewest < DEFAULT_SEEDS:
        yield f"{counted(int(fewest), 'seed')} can show large effects only; the default is five."
    yield (
        f"{BEST_CONTROL.capitalize()}: the control with the highest mean accuracy on select over "
        f"its fresh seeds. {title_of(PLACEBO).capitalize()}: FocusNet with the template's logits "
        "shuffled among the clips of a scene; a gain over it comes from what the template "
        "confused. Verdicts hold for the winner's settings, this split and these weights; "
        "docs/statistics.md says how often they err."
    )
    yield from winner_warnings(study)
