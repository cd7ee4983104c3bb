"""Plots accuracy against the share of the training data, beside published results."""

from typing import Any

import pandas as pd

from analysis.figures.confirmation import draw_subset_curve
from analysis.inference.comparisons import RIVALS, accuracy_of
from analysis.inference.confirmation import training_of
from analysis.inference.single_seed import macro_gain
from analysis.read_study import Stratum, Study
from analysis.render.document import Block, Figure, Section, Table, interval, percent
from analysis.sections.wording import INTERVAL
from analysis.tables.parameters import show
from analysis.tables.predictions import TEMPLATE, teacher_label
from focusnet.arms import FOCUSNET, LABELS

SUBSET = "data.subset"
SCENES = {
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
}
DEVICES = {"a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"}
CLIPS = 230_350  # in TAU22's development set, including those that fold 1 does not use
# Macro accuracy in % on the whole official test split, by subset: the baseline of DCASE 2024
# Task 1, and the best systems of the FocusNet team's entry, 128 kB students distilled from PaSST
# and FocusNet.
PUBLISHED: dict[str, dict[float, float]] = {
    "DCASE24 baseline": {5: 42.4, 10: 45.3, 25: 50.3, 50: 53.2, 100: 57.0},
    "FocusNet team, DCASE24": {5: 48.0, 10: 53.0, 25: 56.8, 50: 59.8, 100: 62.2},
}
# Students of 128 kB on the same split: without a teacher, taught by an ensemble of three PaSST and
# three CNN, and with FocusNet on the student itself.
PUBLISHED_STUDENTS: dict[str, dict[float, float]] = {
    "DCASE24 baseline, no teacher": {5: 42.40, 10: 45.29, 25: 50.29, 50: 53.19, 100: 56.99},
    "taught by an ensemble, DCASE24": {5: 47.97, 10: 53.03, 25: 56.81, 50: 59.82, 100: 61.74},
    "FocusNet on the student, DCASE24": {5: 44.93, 10: 50.01, 25: 55.57, 50: 59.66, 100: 62.21},
}
TAUGHT = {LABELS: "student, no teacher", TEMPLATE: "student of the template",
          FOCUSNET: "student of FocusNet"}  # fmt: skip


def subset_section(study: Study) -> Section | None:
    """Template, FocusNet and its rivals by subset; None unless the strata are subsets."""
    values = [stratum.value for stratum in study.strata]
    if study.stratify != SUBSET or len(values) < 2:
        return None
    curve = subset_curve(study)
    if curve.empty:
        return None
    published: dict[str, dict[float, float]] = {}
    if is_tau22(study):
        published = PUBLISHED_STUDENTS if study.has_student else PUBLISHED
    rows = [
        (
            show(one["subset"]),
            one["curve"],
            str(one["seeds"]),
            percent(one["accuracy"]),
            interval(one["low"], one["high"], percent),
        )
        for _, one in curve.sort_values(["subset", "curve"], kind="stable").iterrows()
    ]
    blocks: list[Block] = [
        "Macro accuracy by percentage of the training clips. With fresh seeds: the mean over the "
        f"halves that are used and its {INTERVAL} for new locations. With one training: the winner "
        "of the search on report and an interval over locations only, without the noise between "
        "trainings. Larger subsets "
        "score higher; the question is how far apart the curves are. Overlapping intervals do not "
        "answer it, because all arms are tested on the same clips.",
        Table(
            ("subset", "curve", "trainings", "accuracy %", INTERVAL),
            rows,
            words=frozenset({"curve"}),
        ),
        Figure(
            "subset_curve.png",
            _caption(bool(published)),
            "Line plot of macro accuracy against the percentage of the training data.",
            draw_subset_curve(curve, published, "training data (%)"),
        ),
    ]
    return Section("Accuracy and training data", blocks)


def _caption(published: bool) -> str:
    text = (
        "Macro accuracy against the share of the training data, with intervals. Open "
        "markers: one training, the winner of the search."
    )
    if not published:
        return text
    return (
        f"{text} Grey: published results, as a scale and not for comparison. They are on the whole "
        "official test split (report is half of it), from small systems (at most 128 kB; PaSST-S "
        "has 345 MB), and on the official subsets, which this study used only if DCASE24's split "
        "files were in evaluation_setup/."
    )


def subset_curve(study: Study) -> pd.DataFrame:
    """One row per point of a curve; accuracies and interval ends are fractions.

    Columns: ``curve``, ``arm``, ``subset``, ``accuracy``, ``low``, ``high``, ``seeds``.
    """
    rows = [row for stratum in study.strata for row in _points(study, stratum)]
    columns = ["curve", "arm", "subset", "accuracy", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def _points(study: Study, stratum: Stratum) -> list[dict[str, Any]]:
    confirmation = stratum.confirmation
    arms = (TEMPLATE, FOCUSNET, *RIVALS)
    rows: list[dict[str, Any]] = []
    for arm in arms:
        effect = accuracy_of(confirmation, arm, study.plan)
        if effect is None:
            continue
        low, high = effect.interval()
        accuracy, low_end, high_end = (float(x[0]) / 100 for x in (effect.estimate, low, high))
        seeds = len(confirmation.seeds(training_of(arm)[0]))
        rows.append({"curve": teacher_label(arm), "arm": arm, "subset": stratum.value,
                     "accuracy": accuracy, "low": low_end, "high": high_end,
                     "seeds": seeds})  # fmt: skip
    for arm, name in TAUGHT.items() if study.has_student else ():
        effect = accuracy_of(confirmation, arm, study.plan, "student")
        if effect is not None:
            low, high = effect.interval()
            accuracy, low_end, high_end = (float(x[0]) / 100 for x in (effect.estimate, low, high))
            rows.append({"curve": name, "arm": arm, "subset": stratum.value,
                         "accuracy": accuracy, "low": low_end, "high": high_end,
                         "seeds": len(confirmation.seeds(arm))})  # fmt: skip
    if not rows and stratum.clips is not None:
        nothing = stratum.clips.assign(nothing="")  # a model that is always wrong
        for arm, stage in ((TEMPLATE, "template"), (FOCUSNET, "focus")):
            one = macro_gain(nothing, before="nothing", after=stage)
            rows.append({"curve": teacher_label(arm), "arm": arm, "subset": stratum.value,
                         "accuracy": one.after, "low": one.low, "high": one.high,
                         "seeds": 1})  # fmt: skip
    return rows


def is_tau22(study: Study) -> bool:
    """Whether the data are the whole development set of TAU Urban Acoustic Scenes 2022 Mobile.

    The demo's synthetic data have the same scenes and devices, so the number of clips must match
    too, including unreadable ones.
    """
    records = study.provenance.get("data") or []
    clips = [clips for one in study.strata if (clips := one.any_clips) is not None]
    if len(records) != 1 or not clips:
        return False
    record = records[0]
    devices = set(clips[0]["device"].astype(str))
    return (
        set(record.get("classes", [])) == SCENES
        and devices <= DEVICES
        and record.get("clips") == CLIPS
    )
