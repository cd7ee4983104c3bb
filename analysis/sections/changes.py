"""Shows what FocusNet changed against its template: by scene, confused pair of scenes, and device.

The numbers are from FocusNet's trials with fresh seeds, pooled; where there are none, from the
winner of the search alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.figures.models import draw_changes, draw_confusions
from analysis.inference.confirmation import half_of
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import Block, Figure, Section, Table, number, percent, points
from analysis.sections.wording import NO_PREDICTIONS
from analysis.tables.confusions import MOST_CONFUSED, most_confused
from analysis.tables.predictions import scenes_of
from focusnet.arms import FOCUSNET

# Device groups of TAU Urban Acoustic Scenes; the study records the accuracy of each.
GROUPS = {
    "real": "real (a, b, c)",
    "seen": "simulated, in training (s1-s3)",
    "unseen": "simulated, test only (s4-s6)",
}


@dataclass(frozen=True)
class Evidence:
    """A stratum's predictions, from one or several trainings, each on the half it is judged on.

    Attributes:
        clips: one row per clip and training, see ``predictions.paired_clips``.
        trials: the trainings, as rows of ``trials.parquet``.
        source: where the predictions are from, in words.
    """

    stratum: Stratum
    clips: pd.DataFrame
    trials: pd.DataFrame
    source: str

    def shares(self, by: str) -> pd.DataFrame:
        """Share of correctly classified clips by the values of a column.

        Returns:
            ``template``, ``focus``, ``change`` (fractions), ``spread`` (standard deviation of the
            change over trainings; NaN for one) and ``clips`` (number of different clips).
        """
        clips = self.clips
        keys = clips[by].astype(str)
        seed = clips["seed"] if "seed" in clips else pd.Series(0, index=clips.index)
        right = pd.DataFrame(
            {
                stage: clips[stage].astype(str) == clips["scene"].astype(str)
                for stage in ("template", "focus")
            }
        )
        by_seed = right.groupby([seed.rename("seed"), keys.rename("key")]).mean()
        change = (by_seed["focus"] - by_seed["template"]).groupby("key")
        table = by_seed.groupby("key").mean()
        return table.assign(
            change=change.mean(),
            spread=change.std(),
            clips=clips["filename"].groupby(keys.rename("key")).nunique(),
        )


def evidence_of(stratum: Stratum) -> Evidence | None:
    """A stratum's predictions, with fresh seeds if there are any; None without predictions."""
    confirmation = stratum.confirmation
    pooled = confirmation.pooled()
    if pooled is not None:
        seeds = confirmation.seeds(FOCUSNET)
        trials = confirmation.trials
        trials = trials[trials["seed"].isin(seeds) & (trials["arm"] == FOCUSNET)]
        return Evidence(
            stratum,
            pooled,
            trials,
            f"The winner of {stratum.label}, trained again with {len(seeds)} fresh "
            f"{'seed' if len(seeds) == 1 else 'seeds (pooled)'}, on "
            f"{'the half that each is judged on' if study_halves(trials) > 1 else 'report'}",
        )
    if stratum.winner is None or stratum.clips is None:
        return None
    return Evidence(
        stratum,
        stratum.clips,
        stratum.winner.to_frame().T,
        f"The winner of {stratum.label} on report",
    )


def study_halves(trials: pd.DataFrame) -> int:
    """Number of halves of the test split that trainings are judged on."""
    return len({half_of(trial) for _, trial in trials.iterrows()})


def main_evidence(study: Study) -> Evidence | None:
    """Evidence of the stratum with the most data."""
    return None if study.largest is None else evidence_of(study.largest)


def all_evidence(study: Study) -> list[Evidence]:
    """Evidence of every stratum that has predictions."""
    found = [evidence_of(stratum) for stratum in study.strata]
    return [one for one in found if one is not None]


def confusions_sections(study: Study) -> list[Section]:
    """``confusions_section`` of every stratum that has predictions."""
    return [confusions_section(one) for one in all_evidence(study)]


def classes_section(study: Study) -> Section:
    """Accuracy by scene, of template and FocusNet."""
    title = "Classes"
    evidence = main_evidence(study)
    if evidence is None:
        return Section(title, [NO_PREDICTIONS])
    table = evidence.shares("scene").reindex(scenes_of(evidence.clips)).dropna(how="all")
    return Section(
        title,
        [
            f"{evidence.source}: share of each scene's clips classified correctly, and the change "
            f"in points. {_spread_note(evidence)}",
            Table(("scene", *_header(evidence)), _rows(evidence, table), frozenset({"scene"})),
            *_change_figure(study, "classes.png", "scene", lambda one: one.shares("scene")),
        ],
    )


def confusions_section(evidence: Evidence | None) -> Section:
    """The most confused pairs of scenes and the confusion matrices, of template and FocusNet."""
    if evidence is None:
        return Section("Confusions", [NO_PREDICTIONS])
    pairs = most_confused(evidence.clips)
    table = Table(
        ("scenes", "template %", "rank", "FocusNet %", "FocusNet rank", "change"),
        [
            (
                f"{pair.one} / {pair.other}",
                number(pair.template, 1),
                str(pair.template_rank),
                number(pair.focus, 1),
                str(pair.focus_rank),
                points((pair.focus - pair.template) / 100),
            )
            for pair in pairs.itertuples()
        ],
        words=frozenset({"scenes"}),
    )
    about = (
        f"{evidence.source}: the {MOST_CONFUSED} most confused pairs of the template and the "
        f"{MOST_CONFUSED} of FocusNet. Numbers are the share of two scenes' clips that are taken "
        "for the other scene (mean of both directions); change in points. Pairs picked because the "
        "template confuses them tend to shrink by chance alone."
    )
    figure = Figure(
        "confusions.png",
        f"Confusion matrices. {evidence.source}: percentage of the clips of each true scene (row) "
        "that are classified as each scene (column).",
        "Heat maps of the confusion matrices of template and FocusNet.",
        draw_confusions(evidence.clips),
    )
    return Section("Confusions", [about, table, figure])


def devices_section(study: Study, evidence: Evidence | None) -> Section:
    """Accuracy by device and device group."""
    title = "Devices"
    if evidence is None:
        return Section(title, [NO_PREDICTIONS])
    devices = evidence.shares("device")
    rows = _rows(evidence, devices)
    groups = _group_shares(evidence).dropna(subset="template")
    rows += _rows(evidence, groups.assign(clips=math.nan))
    blocks: list[Block] = [
        f"{evidence.source}: share of clips classified correctly, and the change in points. "
        f"{_spread_note(evidence)} Numbers are coarse where a device has few clips.",
        Table(("device", *_header(evidence)), rows, frozenset({"device"})),
    ]
    if len(all_evidence(study)) > 1:
        blocks += _change_figure(study, "devices.png", "device group", _group_shares)
    return Section(title, blocks)


def _group_shares(evidence: Evidence) -> pd.DataFrame:
    """As ``Evidence.shares``, by device group, from the metrics that the trials recorded."""
    rows = {}
    for group, label in GROUPS.items():
        before, after = (
            np.array([value_of(t, f"{stage}/{half_of(t)}/group/{group}") for _, t in
                      evidence.trials.iterrows()])
            for stage in ("template", "focus")
        )  # fmt: skip
        change = after - before
        rows[label] = {
            "template": before.mean(),
            "focus": after.mean(),
            "change": change.mean(),
            "spread": change.std(ddof=1) if len(change) > 1 else math.nan,
        }
    return pd.DataFrame(rows).T


def _header(evidence: Evidence) -> tuple[str, ...]:
    spread = ("sd over seeds",) if len(evidence.trials) > 1 else ()
    return "clips", "template %", "FocusNet %", "change", *spread


def _rows(evidence: Evidence, table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            str(name),
            number(one["clips"], 0),
            percent(one["template"]),
            percent(one["focus"]),
            points(one["change"]),
            *((percent(one["spread"]),) if len(evidence.trials) > 1 else ()),
        )
        for name, one in table.iterrows()
    ]


def _spread_note(evidence: Evidence) -> str:
    if len(evidence.trials) > 1:
        return "The last column is the standard deviation of the change over seeds."
    return "There is one training, so the noise between trainings is unknown."


def _change_figure(
    study: Study, file: str, label: str, shares: Callable[[Evidence], pd.DataFrame]
) -> list[Figure]:
    """A heat map of the change in every stratum; nothing if there is no change to show."""
    every = all_evidence(study)
    changes = {one.stratum.label: shares(one)["change"].dropna() for one in every}
    if all(series.empty for series in changes.values()):
        return []
    seeds = sorted({len(one.trials) for one in every})
    trainings = " or ".join(str(count) for count in seeds)
    return [
        Figure(
            file,
            f"Change by {label} in every stratum, FocusNet minus its own template on report, in "
            f"points (mean of {trainings} training{'' if seeds == [1] else 's'}). Blue is a gain, "
            "red a loss. Single cells have few locations and are mostly noise.",
            f"Heat map of the change in points by {label} and stratum.",
            draw_changes(changes, label),
        )
    ]
