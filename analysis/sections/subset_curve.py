"""The report's curve of accuracy against the share of the training data, beside published ones."""

from typing import Any

import pandas as pd

from analysis.figures.confirmation import draw_subset_curve
from analysis.inference.single_seed import macro_gain
from analysis.read_study import Stratum, Study
from analysis.render.document import MISSING, Block, Figure, Section, Table, percent
from analysis.tables.parameters import show
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, label_of
from focusnet.location_interval import LEVEL

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
CLIPS = 230_350  # of TAU22's development set, those that fold 1 leaves out included
# Macro accuracy in % on all of the official test split, by subset: the baseline of DCASE 2024
# Task 1, and the best systems of the FocusNet team's entry, 128 kB students taught by PaSST and
# FocusNet.
PUBLISHED: dict[str, dict[float, float]] = {
    "DCASE24 baseline": {5: 42.4, 10: 45.3, 25: 50.3, 50: 53.2, 100: 57.0},
    "FocusNet team, DCASE24": {5: 48.0, 10: 53.0, 25: 56.8, 50: 59.8, 100: 62.2},
}


def subset_section(study: Study) -> Section | None:
    """Template, FocusNet and best control by subset; None where the strata are something else."""
    values = [stratum.value for stratum in study.strata]
    if study.stratify != SUBSET or len(values) < 2:
        return None
    curve = subset_curve(study)
    if curve.empty:
        return None
    published = PUBLISHED if is_tau22(study) else {}
    rows = [
        (
            show(one["subset"]),
            one["curve"],
            MISSING if one["arm"] is None else label_of(one["arm"]),
            str(one["seeds"]),
            percent(one["accuracy"]),
            MISSING if pd.isna(one["low"]) else f"{percent(one['low'])} to {percent(one['high'])}",
        )
        for _, one in curve.sort_values(["subset", "curve"], kind="stable").iterrows()
    ]
    blocks: list[Block] = [
        "Macro accuracy on report by percent of the training clips. With fresh seeds, the mean "
        f"and its {100 * LEVEL:g} % interval over seeds and locations; with one training, the "
        "winner of the search and an interval over locations only, which leaves the noise between "
        "trainings out. Larger subsets score higher; the question is the distance between curves, "
        "and intervals that overlap do not answer it, because all are tested on the same clips.",
        Table(
            ("subset", "curve", "arm", "trainings", "accuracy %", f"{100 * LEVEL:g} % interval"),
            rows,
            words=frozenset({"curve", "arm"}),
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
        "Macro accuracy on report against the share of the training data, with intervals. Open "
        "markers: one training, the winner of the search."
    )
    if not published:
        return text
    return (
        f"{text} Grey: published results, which are no opponents but a scale. They are on all of "
        "the official test split, of which report is a half; the systems are small (at most 128 "
        "kB, where PaSST-S has 345 MB); and the subsets are the official ones, which "
        "this study's are only if DCASE24's split files lay in evaluation_setup/."
    )


def subset_curve(study: Study) -> pd.DataFrame:
    """A row a point: ``curve``, ``arm``, ``subset``, ``accuracy``, ``low``, ``high``, ``seeds``."""
    rows = [row for stratum in study.strata for row in _points(stratum)]
    columns = ["curve", "arm", "subset", "accuracy", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def _points(stratum: Stratum) -> list[dict[str, Any]]:
    confirmation = stratum.confirmation
    curves = {"template": TEMPLATE, "FocusNet": FOCUSNET, "best control": confirmation.best_control}
    rows: list[dict[str, Any]] = []
    if confirmation.is_complete and len(confirmation.seeds(FOCUSNET)) > 1:
        for curve, arm in curves.items():
            if arm is None:
                continue
            accuracy, low, high = confirmation.accuracy_interval(arm)
            seeds = len(confirmation.seeds(FOCUSNET if arm == TEMPLATE else arm))
            rows.append({"curve": curve, "arm": arm, "subset": stratum.value, "accuracy": accuracy,
                         "low": low, "high": high, "seeds": seeds})  # fmt: skip
    elif stratum.clips is not None:
        nothing = stratum.clips.assign(nothing="")  # a model that is never right
        for curve, stage in (("template", "template"), ("FocusNet", "focus")):
            one = macro_gain(nothing, before="nothing", after=stage)
            rows.append({"curve": curve, "arm": curves[curve], "subset": stratum.value,
                         "accuracy": one.after, "low": one.low, "high": one.high,
                         "seeds": 1})  # fmt: skip
    return rows


def is_tau22(study: Study) -> bool:
    """Whether the data are TAU Urban Acoustic Scenes 2022 Mobile, all of the development set.

    The demo's own data has its scenes and devices, too, so the number of clips must be right, those
    that cannot be read included.
    """
    records = study.provenance.get("data") or []
    clips = [one.clips for one in study.strata if one.clips is not None]
    if len(records) != 1 or not clips:
        return False
    record = records[0]
    devices = set(clips[0]["device"].astype(str))
    return (
        set(record.get("classes", [])) == SCENES
        and devices <= DEVICES
        and record.get("clips") == CLIPS
    )
