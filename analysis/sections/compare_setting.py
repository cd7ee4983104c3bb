"""Compares the values of one setting: trials that differ only in it, paired by seed.

For example: do cross-fitted template logits do better than stored ones? The trials may be from one
study that searches over the setting, or from several studies that each fix it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.inference.confirmation import REPORT, half_of
from analysis.inference.single_seed import macro_gain
from analysis.read_study import Study, value_of
from analysis.render.document import MISSING, Section, Table, interval, number, percent, points
from analysis.sections.wording import INTERVAL
from analysis.tables.parameters import show
from analysis.tables.predictions import FOCUS, PredictionsError, read_clips
from focusnet.arms import FOCUSNET
from focusnet.config import short_names
from focusnet.statistics.pooled import Effect, pooled_effect


@dataclass(frozen=True)
class _Trial:
    value: Any
    cell: tuple[Any, ...]  # the other searched parameters
    seed: int
    clips: pd.DataFrame
    row: pd.Series


def setting_section(studies: Sequence[Study], path: str) -> Section:
    """Compare the values of a setting between trials whose other settings are the same.

    Args:
        studies: their finished FocusNet trials are used, of every phase.
        path: dotted path of the setting, such as ``focus.template_logits``.
    """
    title = f"{path}: {', '.join(study.name for study in studies)}"
    others = _other_parameters(studies, path)
    trials = [one for study in studies for one in _trials(study, path, others)]
    values = list(dict.fromkeys(one.value for one in trials))
    if len(values) < 2:
        found = ", ".join(show(value) for value in values) or "none"
        return Section(
            title, [f"Nothing to compare: finished trials have one value of {path} ({found})."]
        )
    names = short_names(others)
    header = [*names.values(), "seeds"]
    for value in values:
        header += [f"{show(value)}: warm classes", f"{show(value)} %"]
    for value in values[1:]:
        header += [f"{show(value)} over {show(values[0])}", INTERVAL]
    rows = [
        _row(cell, [one for one in trials if one.cell == cell], values)
        for cell in dict.fromkeys(one.cell for one in trials)
    ]
    return Section(
        title,
        [
            "Macro accuracy on report of FocusNet trials that differ in this setting alone: the "
            "mean over their common seeds, and the paired difference in points. Intervals are for "
            "new locations, with one seed without the noise between trainings. They are not "
            "corrected for the number of rows, so an interval that excludes 0 is not yet a claim.",
            Table(tuple(header), rows),
        ],
    )


def _other_parameters(studies: Sequence[Study], path: str) -> list[str]:
    """The other searched parameters, without the seed, which pairs the trials."""
    paths = [one for study in studies for one in study.space["space"]]
    return [one for one in dict.fromkeys(paths) if one not in (path, "seed")]


def _trials(study: Study, path: str, others: Sequence[str]) -> list[_Trial]:
    trials = study.trials
    done = trials[(trials["status"] == "finished") & (trials["arm"] == FOCUSNET)]
    found = []
    for _, row in done.iterrows():
        if half_of(row) != REPORT:
            continue  # its settings were chosen on report
        try:
            clips = read_clips(study.folder, str(row["trial"]))
        except PredictionsError:
            continue
        cell = tuple(_plain(_value(study, row, one)) for one in others)
        value = _plain(_value(study, row, path))
        found.append(_Trial(value, cell, int(row["seed"]), clips, row))
    return found


def _value(study: Study, row: pd.Series, path: str) -> Any:
    """A trial's value of a setting: its own if searched, else its study's."""
    if path in row.index:
        return row[path]
    inside: Any = study.space["trial"]
    for name in path.split("."):
        inside = inside.get(name) if isinstance(inside, dict) else None
    return inside


def _plain(value: Any) -> Any:
    """Replace NaN, which is not equal to itself, by None."""
    return None if isinstance(value, float) and np.isnan(value) else value


def _row(cell: tuple[Any, ...], trials: list[_Trial], values: list[Any]) -> tuple[str, ...]:
    by_value = {value: {t.seed: t for t in trials if t.value == value} for value in values}
    seeds = sorted(set.intersection(*(set(of_value) for of_value in by_value.values())))
    cells = [*(show(value) for value in cell), str(len(seeds))]
    for of_value in by_value.values():
        common = [of_value[seed] for seed in seeds]
        warm = [value_of(one.row, "focus/warm_classes") for one in common]
        accuracy = [_macro_accuracy(one.clips) for one in common]
        cells += [number(_mean(warm), 2), percent(_mean(accuracy))]
    for value in values[1:]:
        cells += _difference(by_value[values[0]], by_value[value], seeds)
    return tuple(cells)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _macro_accuracy(clips: pd.DataFrame) -> float:
    right = (clips[FOCUS].astype(str) == clips["scene"].astype(str)).astype(int)
    return float(right.groupby(clips["scene"].astype(str)).mean().mean())


def _difference(
    base: dict[int, _Trial], other: dict[int, _Trial], seeds: Sequence[int]
) -> tuple[str, str]:
    """The cells of the paired difference in accuracy and its interval."""
    if not seeds:
        return MISSING, MISSING
    if len(seeds) == 1:
        columns = ["filename", FOCUS]
        both = base[seeds[0]].clips.merge(
            other[seeds[0]].clips[columns].rename(columns={FOCUS: "other"}), on="filename"
        )
        one = macro_gain(both, before=FOCUS, after="other")
        return points(one.gain), interval(one.low, one.high)
    of_other, of_base = ([of_value[seed].clips for seed in seeds] for of_value in (other, base))
    effect = _paired_effect(of_other, of_base)
    if effect is None:
        return MISSING, MISSING
    low, high = effect.interval()
    gain, low_end, high_end = (float(one[0]) / 100 for one in (effect.estimate, low, high))
    return points(gain), interval(low_end, high_end)


def _paired_effect(other: Sequence[pd.DataFrame], base: Sequence[pd.DataFrame]) -> Effect | None:
    """Effect on report over seeds and locations; None where trials have different clips."""
    names = sorted(base[0]["filename"])
    if any(sorted(clips["filename"]) != names for clips in (*other, *base)):
        return None
    keys = [base[0][name].astype(str).to_numpy() for name in ("scene", "location")]
    sizes = base[0].groupby(keys).size()
    cells = [
        np.array([_cells(clips).reindex(sizes.index).to_numpy() for clips in of_value])[None]
        for of_value in (other, base)
    ]
    scene = pd.factorize(sizes.index.get_level_values(0))[0]
    judged_on = [np.zeros(len(base), dtype=np.int64)]
    half = np.zeros(len(scene), dtype=np.int64)
    effect, _ = pooled_effect(
        [cells[0]], [cells[1]], scene, half, sizes.to_numpy(np.int64), judged_on
    )
    return effect


def _cells(clips: pd.DataFrame) -> pd.Series:
    """FocusNet's accuracy in points by scene and location."""
    scene = clips["scene"].astype(str)
    right = 100.0 * (clips[FOCUS].astype(str) == scene)
    return right.groupby([scene.to_numpy(), clips["location"].astype(str).to_numpy()]).mean()
