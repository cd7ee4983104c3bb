"""Shows what each search found: its winner's accuracy and gain on report, and why to doubt them."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.inference.single_seed import Effect, macro_gain
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import (
    MISSING,
    Block,
    Bullets,
    Section,
    Table,
    interval,
    number,
    percent,
    points,
)
from analysis.sections.sensitivity import edge_notes
from analysis.sections.wording import (
    INTERVAL,
    lone_locations_note,
    stratum_cell,
    stratum_header,
    stratum_prefix,
)
from analysis.tables.parameters import show
from analysis.tables.predictions import scenes_of
from focusnet.arms import FEW_WARM_CLASSES
from focusnet.config import short_names
from focusnet.winner import NEVER_TRAINED

STAGE_METRIC = "{}/report/macro_accuracy"
STUDENT_METRIC = STAGE_METRIC.format("student")


def search_section(study: Study) -> Section | None:
    """What the search found; None where the answer has it because nothing can be judged yet."""
    return Section("Search", search_blocks(study)) if study.is_judged else None


def search_blocks(study: Study) -> list[Block]:
    """A table and sentences with each stratum's winner, and the reservations about them."""
    outcomes = [
        (stratum, None if stratum.clips is None else macro_gain(stratum.clips))
        for stratum in study.strata
    ]
    effects = [effect for _, effect in outcomes if effect is not None]
    header = (
        *stratum_header(study),
        "trials",
        *short_names(study.parameters).values(),
        "template %",
        "FocusNet %",
        *(("student %",) if study.has_student else ()),
        "gain",
        INTERVAL,
        "warm classes",
        "only label warm %",
    )
    table: list[Block] = [
        "The winner of each search on report, the half of the test locations that no search has "
        "seen. Accuracies are macro averages over scenes; gain is FocusNet minus its own template, "
        "in points; trials are finished / planned.",
        Table(header, [_row(study, stratum, effect) for stratum, effect in outcomes]),
    ]
    if not study.winners:
        return ["No trial has finished yet: there is no answer.", *table]
    sentences = [
        _sentence(study, stratum, stratum.winner, effect)
        for stratum, effect in outcomes
        if stratum.winner is not None
    ]
    blocks: list[Block] = [Bullets(sentences), *table, _reservation(study, effects)]
    notes = [] if study.is_judged else list(winner_warnings(study))
    if lone := max((effect.lone_locations for effect in effects), default=0):
        notes.append(lone_locations_note(lone))
    if notes:
        blocks.append(Bullets(notes))
    return blocks


def winner_warnings(study: Study) -> Iterable[str]:
    """Warn of winners that are luck, whose masks say too little, or at the edge of a range."""
    for stratum in study.winners:
        if stratum.choice is not None and stratum.choice.doubt:
            yield f"{stratum_prefix(study, stratum)}{stratum.choice.doubt}."
        yield from _mask_notes(study, stratum)
    yield from edge_notes(study, study.winners)


def _row(study: Study, stratum: Stratum, effect: Effect | None) -> tuple[str, ...]:
    winner = stratum.winner
    before, after, gain = _accuracies(stratum, effect)
    return (
        *stratum_cell(study, stratum),
        f"{stratum.finished}/{study.trials_asked(stratum.value)}",
        *(MISSING if winner is None else show(winner.get(path)) for path in study.parameters),
        percent(before),
        percent(after),
        *((percent(value_of(winner, STUDENT_METRIC)),) if study.has_student else ()),
        points(gain),
        MISSING if effect is None else interval(effect.low, effect.high),
        number(value_of(winner, "focus/warm_classes"), 2),
        percent(value_of(winner, "focus/only_label_warm")),
    )


def _accuracies(stratum: Stratum, effect: Effect | None) -> tuple[float, float, float]:
    """Template, FocusNet and gain on report: from the predictions, else as the trial recorded."""
    if effect is not None:
        return effect.before, effect.after, effect.gain
    before, after = (
        value_of(stratum.winner, STAGE_METRIC.format(stage)) for stage in ("template", "focus")
    )
    return before, after, after - before


def _sentence(study: Study, stratum: Stratum, winner: pd.Series, effect: Effect | None) -> str:
    settings = ", ".join(
        f"{name} {show(winner.get(path))}" for path, name in short_names(study.parameters).items()
    )
    before, after, gain = _accuracies(stratum, effect)
    found = f"the best of {stratum.tried} on select"
    estimate = math.nan if stratum.choice is None else stratum.choice.estimate
    if stratum.is_estimated:
        found = f"the setting estimated best, at {_estimate(study, estimate)} on select"
    if stratum.is_untried:
        return (
            f"{stratum_prefix(study, stratum)}{NEVER_TRAINED}: {settings}. All trials together "
            f"estimate {_estimate(study, estimate)} on select there; only its confirmation says "
            "how good it is."
        )
    text = f"{stratum_prefix(study, stratum)}{found} ({settings}) has "
    if math.isnan(gain):
        return f"{text}no result on report."
    if study.has_student:
        student = percent(value_of(winner, STUDENT_METRIC))
        text += f"a student of {student} % on report; FocusNet itself has "
    text += f"{percent(after)} % on report, its template {percent(before)} %: {points(gain)} points"
    if effect is None:
        return f"{text}, without an interval, because {stratum.problem}."
    text += f" ({INTERVAL} {interval(effect.low, effect.high)})."
    if effect.low <= 0 <= effect.high:
        return f"{text} The interval includes 0."
    side = "higher" if effect.low > 0 else "lower"
    return (
        f"{text} FocusNet is {side} than its template on these locations, for this one pair of "
        "trainings."
    )


def _estimate(study: Study, value: float) -> str:
    """An estimate of the metric that decides; the metric is named where it is no usual one."""
    value_text = number(value, 3) if study.metric.endswith("log_loss") else f"{percent(value)} %"
    usual = study.metric == "focus/select/macro_accuracy"
    return value_text if usual else f"{value_text} of {study.metric.replace('/select', '')}"


def _reservation(study: Study, effects: Sequence[Effect]) -> str:
    """Say why the winners' gains are no claim."""
    tried = [one.tried for one in study.winners]
    most = f"{min(tried)} to {max(tried)}" if len(set(tried)) > 1 else str(tried[0])
    done = [one.trials[one.trials["status"] == "finished"] for one in study.strata]
    seeds = sorted({seed for trials in done for seed in trials["seed"].dropna()})
    trained = f"seed {show(seeds[0])}" if len(seeds) == 1 else f"one of {len(seeds)} seeds"
    locations = sorted({effect.locations for effect in effects})
    which = f"the {locations[0]} test locations" if len(locations) == 1 else "test locations"
    classes = next((len(scenes_of(one.clips)) for one in study.winners if one.clips is not None), 0)
    chance = f" Chance is {100 / classes:.1f} %." if classes else ""
    claim = (
        "The answer above uses fresh seeds instead."
        if study.is_judged
        else "A claim needs fresh seeds, and controls with the same budget: FocusNet with placebo "
        "masks, label smoothing and self-distillation."
    )
    picked = f"picked as the best of {most} on select"
    if any(one.is_estimated for one in study.winners):
        picked = "picked as the setting that all trials together estimate best on select"
    return (
        "This describes the trials that ran; it is not a claim about FocusNet. Each winner was "
        f"{picked}, and every trial was trained once ({trained}). "
        f"The interval covers the choice of {which} only, not the noise between trainings. "
        f"Another loss may help as much. {claim}{chance}"
    )


def _mask_notes(study: Study, stratum: Stratum) -> Iterable[str]:
    """Where the winner's masks hold too little or too much."""
    winner = stratum.winner
    where = f"{stratum.label}: " if study.stratify else ""
    warm = value_of(winner, "focus/warm_classes")
    if warm < FEW_WARM_CLASSES:
        yield (
            f"{where}the winner's masks hold {warm:.2f} classes on average, hardly more than the "
            "label: there FocusNet cannot differ from label smoothing."
        )
    if stratum.clips is not None and warm > len(scenes_of(stratum.clips)) - (FEW_WARM_CLASSES - 1):
        yield (
            f"{where}the winner's masks hold all {len(scenes_of(stratum.clips))} classes for "
            "nearly every clip: they say nothing about what the template confuses."
        )
