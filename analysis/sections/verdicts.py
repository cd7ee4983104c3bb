"""The report's first part where there are fresh seeds: per stratum, gain, loss or no evidence."""

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
    percent,
    points,
)
from analysis.sections.answer import search_blocks, weak_points
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import PLACEBO, REFERENCE, label_of
from focusnet.location_interval import LEVEL

HEADER = (
    "FocusNet against",
    "seeds",
    "FocusNet %",
    "other %",
    "effect",
    f"{100 * LEVEL:g} % interval",
    "p (Holm)",
    "verdict",
    "detectable",
)


def answer(study: Study) -> Section:
    """Claims where the confirmation allows them, else what the search shows and what is missing."""
    if not study.confirmed:
        return Section("Answer", [why_no_claims(study), *search_blocks(study)])
    return Section("Answer", confirmed_blocks(study, study_effects(study)))


def search_section(study: Study) -> Section | None:
    """What the search shows, where the answer does not rest on it."""
    return Section("Search", search_blocks(study)) if study.confirmed else None


def study_effects(study: Study) -> pd.DataFrame:
    """See ``verdict.verdicts``; the strata in the study's order."""
    return verdicts((stratum.value, stratum.confirmation) for stratum in study.strata)


def why_no_claims(study: Study) -> str:
    """What a study without any confirmed stratum lacks."""
    lead = "No claim can be made yet: "
    if "confirm" not in study.space:
        return f"{lead}this study has no confirmation, that is no training with fresh seeds."
    asked = sum(stratum.confirmation.asked for stratum in study.strata)
    if not asked:
        return f"{lead}the confirmation with fresh seeds is off (confirm.seeds)."
    open_trials = sum(stratum.confirmation.to_come for stratum in study.strata)
    if open_trials == asked:
        return (
            f"{lead}the confirmation, {asked} trials with fresh seeds, begins in each stratum when "
            "its search has ended."
        )
    return (
        f"{lead}{open_trials} of {asked} trials of the confirmation with fresh seeds are to come, "
        "and no stratum has all of its own."
    )


def confirmed_blocks(study: Study, table: pd.DataFrame) -> list[Block]:
    """The headline, each stratum's sentence and table, the figure, and what limits it all."""
    blocks: list[Block] = [_headline(study, table), _method(study)]
    for stratum in study.strata:
        rows = _of(table, stratum)
        blocks.append(_sentence(study, stratum, rows))
        if stratum.confirmation.is_complete:
            blocks.append(effect_rows(rows))
    blocks.append(effects_figure(study, table))
    blocks.append(Bullets(list(_limits(study, table))))
    return blocks


def effect_rows(rows: pd.DataFrame) -> Table:
    """A table of effects, a row a comparison."""
    return Table(
        HEADER, [_row(one) for _, one in rows.iterrows()], frozenset({HEADER[0], "verdict"})
    )


def effects_figure(study: Study, table: pd.DataFrame) -> Figure:
    """All effects and intervals at a glance."""
    return Figure(
        "effects.png",
        f"Effect of FocusNet on macro accuracy with its {100 * LEVEL:g} % interval over seeds and "
        "locations, by stratum and comparison. Dotted: the effect that this study would have "
        f"detected with {100 * POWER:g} % power, either way, where that is not beyond the axis.",
        "Interval plots of the effects, a panel for each comparison.",
        draw_effects(
            table,
            {stratum.value: stratum.label for stratum in study.strata},
            [title_of(against) for against in COMPARISONS],
        ),
    )


def _of(table: pd.DataFrame, stratum: Stratum) -> pd.DataFrame:
    value = table["stratum"]
    return table[value.isna() if stratum.value is None else value == stratum.value]


def _headline(study: Study, table: pd.DataFrame) -> str:
    parts = []
    for against in COMPARISONS:
        rows = table[table["against"] == against]
        tested = rows[rows["verdict"] != UNTESTED]
        if tested.empty:
            parts.append(f"against {title_of(against)}: not tested")
            continue
        labels = {stratum.value: stratum.label for stratum in study.strata}
        words = []
        for verdict in (GAIN, LOSS):
            where = [labels[value] for value in tested.loc[tested["verdict"] == verdict, "stratum"]]
            if where or verdict == GAIN:
                named = f" ({', '.join(where)})" if where and study.stratify else ""
                words.append(f"{verdict} in {len(where)} of {len(tested)}{named}")
        parts.append(f"against {title_of(against)}: {', '.join(words)}")
    what = "strata" if study.stratify else "searches"
    return f"Does FocusNet help? Of the {what} tested with fresh seeds: {'; '.join(parts)}."


def _method(study: Study) -> str:
    seeds = len((study.space.get("confirm") or {}).get("seeds") or [])
    return (
        f"Each search's winner was trained again with {counted(seeds, 'seed')} that nothing was "
        "chosen on, new templates included, and so were the controls, with its settings as far as "
        "they use them. Macro accuracies on report, the half of the test locations that no search "
        "has seen; the effect is the mean over seeds of the paired difference, in points. "
        f"A verdict needs p of at most {1 - LEVEL:.2g} (corrected over the strata by Holm's "
        "method) and an interval on one side of 0. Detectable: the true effect that would have "
        f"been found in {100 * POWER:g} % of such studies."
    )


def _sentence(study: Study, stratum: Stratum, rows: pd.DataFrame) -> str:
    where = f"{stratum.label}: " if study.stratify else ""
    confirmation = stratum.confirmation
    if not confirmation.is_complete:
        return (
            f"{where}not tested yet: {confirmation.to_come} of {confirmation.asked} trials of the "
            "confirmation are to come."
        )
    parts = []
    for _, one in rows.iterrows():
        if one["verdict"] == UNTESTED:
            continue
        title = title_of(one["against"], one["control"])
        about = f"({points(one['effect'])} points, {_interval(one)})"
        kind = {GAIN: "gain over", LOSS: "loss against"}.get(one["verdict"])
        parts.append(
            f"{kind} {title} {about}"
            if kind
            else f"no evidence of a difference from {title} {about}"
        )
    return f"{where}{'; '.join(parts) or UNTESTED}. {_reading(rows)}"


def _reading(rows: pd.DataFrame) -> str:
    """What the verdicts mean together."""
    found = dict(zip(rows["against"], rows["verdict"], strict=True))
    template, control, placebo = (found[against] for against in COMPARISONS)
    if template == UNTESTED:
        return f"Fewer than {FEWEST_SEEDS} seeds are left to test with."
    if template == LOSS:
        return "FocusNet is worse than the template that it was trained with."
    if template != GAIN:
        detectable = float(rows.loc[rows["against"] == TEMPLATE, "detectable"].iloc[0])
        if detectable > 1:
            return "This is not evidence of no effect: so few seeds could have found none at all."
        return (
            f"This is not evidence of no effect: one below {100 * detectable:.1f} points would "
            "often have been missed."
        )
    if control == UNTESTED:
        return "Without controls it is not known whether training a second time is all that helps."
    best = rows.loc[rows["against"] == BEST_CONTROL, "control"].iloc[0]
    if control == LOSS:
        return f"A second training helps, but {label_of(best)} helps more."
    if control != GAIN and best == REFERENCE:
        return (
            "FocusNet helps no more with these settings than with the paper's, which are the best "
            "control here; the other arms are below."
        )
    if control != GAIN:
        return "A second training helps; that it takes FocusNet is not shown."
    if placebo == GAIN:
        return "FocusNet helps, and it takes what the template confused about each clip."
    return "FocusNet helps; that it takes what the template confused is not shown."


def _row(one: pd.Series) -> tuple[str, ...]:
    p = one["p_holm"]
    return (
        title_of(one["against"], one["control"]),
        str(one["seeds"]),
        percent(one["accuracy"]),
        percent(one["accuracy_against"]),
        points(one["effect"]),
        _interval(one),
        MISSING if math.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}"),
        one["verdict"],
        "> 100" if one["detectable"] > 1 else percent(one["detectable"]),
    )


def _interval(one: pd.Series) -> str:
    return MISSING if math.isnan(one["low"]) else f"{points(one['low'])} to {points(one['high'])}"


def _limits(study: Study, table: pd.DataFrame) -> Iterable[str]:
    """What a reader must know before believing the table."""
    for stratum in study.strata:
        confirmation = stratum.confirmation
        failed = confirmation.trials[confirmation.trials["status"] == "failed"]
        if len(failed):
            arms = ", ".join(sorted({str(arm) for arm in failed["arm"]}))
            yield (
                f"{stratum.label}: {counted(len(failed), 'confirmation trial')} failed ({arms}); "
                "the comparisons rest on the seeds that are left. If failing has to do with the "
                "arm, they flatter it."
            )
        if confirmation.is_complete and confirmation.best_control == REFERENCE:
            yield (
                f"{stratum.label}: the best control is FocusNet itself with the paper's settings; "
                "no gain over it says that the search found nothing better, not that FocusNet "
                "does not help."
            )
    waiting = [one.label for one in study.strata if one.confirmation.to_come > 0]
    if waiting:
        yield (
            f"To come: {', '.join(waiting)}. They are counted in the correction as if they had "
            "found nothing; a gain or loss that stands now will stand then."
        )
    lone = int(table["lone_locations"].max())
    if lone:
        yield (
            f"{counted(lone, 'scene')} with a single test location: the noise between locations "
            "cannot be seen there, and the intervals are too narrow."
        )
    fewest = table.loc[table["verdict"] != UNTESTED, "seeds"].min()
    if fewest < 5:
        yield f"{counted(int(fewest), 'seed')} can show large effects only; five are the default."
    yield (
        f"{BEST_CONTROL.capitalize()}: the arm beside FocusNet with the highest mean accuracy on "
        f"select over its fresh seeds. {title_of(PLACEBO).capitalize()}: FocusNet with the "
        "template's logits shuffled among clips of a scene; only a gain over it comes from what "
        "the template confused. Verdicts are about the winner's settings, this split and these "
        "weights; docs/statistics.md says how often they err."
    )
    yield from weak_points(study)
