"""The report's parts on what changed: scenes, confused pairs, devices, before and after.

They rest on FocusNet's trials with fresh seeds, pooled, where there are any, else on the winner
of the search alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.figures.models import draw_changes, draw_confusions
from analysis.read_study import Stratum, Study, value_of
from analysis.render.document import Block, Figure, Section, Table, number, percent, points
from analysis.tables.confusions import MOST_CONFUSED, most_confused
from analysis.tables.predictions import scenes_of
from focusnet.arms import FOCUSNET

# As TAU Urban Acoustic Scenes defines its devices; the study computes the groups' accuracies.
GROUPS = {
    "real": "real (a, b, c)",
    "seen": "simulated, in training (s1-s3)",
    "unseen": "simulated, test only (s4-s6)",
}
_NOTHING = "There are no predictions of a finished trial yet."


@dataclass(frozen=True)
class Evidence:
    """What a stratum's explanations rest on: clips on report, one row a clip and training."""

    stratum: Stratum
    clips: pd.DataFrame
    trials: pd.DataFrame  # the trainings
    source: str  # in words

    def shares(self, by: str, keys: pd.Series | None = None) -> pd.DataFrame:
        """Share of right clips by a column: ``template``, ``focus``, ``change``, ``spread``.

        ``spread`` is the standard deviation of the change over trainings, NaN for one; ``clips``
        the number of different clips.
        """
        clips = self.clips
        keys = clips[by].astype(str) if keys is None else keys
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
    """The best that there is for a stratum; None without predictions."""
    confirmation = stratum.confirmation
    pooled = confirmation.pooled()
    if pooled is not None:
        seeds = confirmation.seeds(FOCUSNET)
        trials = confirmation.trials
        trials = trials[(trials["status"] == "finished") & (trials["arm"] == FOCUSNET)]
        return Evidence(
            stratum,
            pooled,
            trials,
            f"The winner of {stratum.label}, trained again with {len(seeds)} fresh "
            f"{'seed' if len(seeds) == 1 else 'seeds, pooled'}, on report",
        )
    if stratum.winner is None or stratum.clips is None:
        return None
    return Evidence(
        stratum,
        stratum.clips,
        stratum.winner.to_frame().T,
        f"The winner of {stratum.label} on report",
    )


def main_evidence(study: Study) -> Evidence | None:
    """That of the stratum with the most data."""
    return None if study.largest is None else evidence_of(study.largest)


def all_evidence(study: Study) -> list[Evidence]:
    """That of every stratum that has any."""
    found = [evidence_of(stratum) for stratum in study.strata]
    return [one for one in found if one is not None]


def confusions_of_all(study: Study) -> list[Section]:
    """``confusions_section`` of every stratum that has any evidence."""
    return [confusions_section(one) for one in all_evidence(study)]


def classes_section(study: Study) -> Section:
    """Which scenes gain."""
    title = "Classes"
    evidence = main_evidence(study)
    if evidence is None:
        return Section(title, [_NOTHING])
    table = evidence.shares("scene").reindex(scenes_of(evidence.clips)).dropna(how="all")
    return Section(
        title,
        [
            f"{evidence.source}: share of each scene's clips that are right; change in points"
            + _spread_note(evidence),
            Table(("scene", *_header(evidence)), _rows(evidence, table), frozenset({"scene"})),
            *_change_figure(study, "classes.png", "scene", lambda one: one.shares("scene")),
        ],
    )


def confusions_section(evidence: Evidence | None) -> Section:
    """What is taken for what, before and after."""
    if evidence is None:
        return Section("Confusions", [_NOTHING])
    pairs = most_confused(evidence.clips)
    table = Table(
        ("scenes", "template %", "rank", "FocusNet %", "rank after", "change"),
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
        f"{evidence.source}. The {MOST_CONFUSED} most confused pairs of the "
        f"template and the {MOST_CONFUSED} of FocusNet: of the clips of two scenes, the share "
        "taken for the other one (mean of both directions); change in points. Pairs picked "
        "because the template confuses them tend to shrink by chance alone."
    )
    figure = Figure(
        "confusions.png",
        f"Confusions. {evidence.source}: of the clips of each true scene (row), the percentage "
        "taken for each scene (column).",
        "Heat maps of the confusion matrices of template and FocusNet.",
        draw_confusions(evidence.clips),
    )
    return Section("Confusions", [about, table, figure])


def devices_section(study: Study, evidence: Evidence | None) -> Section:
    """Accuracy by device and device group."""
    title = "Devices"
    if evidence is None:
        return Section(title, [_NOTHING])
    devices = evidence.shares("device")
    rows = _rows(evidence, devices)
    for group, label in GROUPS.items():
        one = group_shares(evidence).loc[group]
        if not math.isnan(one["template"]):
            rows += _rows(evidence, one.rename(label).to_frame().T.assign(clips=math.nan))
    blocks: list[Block] = [
        f"{evidence.source}: share of clips that are right, change in points. Few clips a device "
        "make these numbers coarse" + _spread_note(evidence),
        Table(("device", *_header(evidence)), rows, frozenset({"device"})),
    ]
    if len(all_evidence(study)) > 1:
        blocks += _change_figure(study, "devices.png", "device group", _named_groups)
    return Section(title, blocks)


def group_shares(evidence: Evidence) -> pd.DataFrame:
    """As ``Evidence.shares``, by device group, from the trials' own metrics."""
    rows = {}
    for group in GROUPS:
        before, after = (
            np.array([value_of(t, f"{stage}/report/group/{group}") for _, t in
                      evidence.trials.iterrows()])
            for stage in ("template", "focus")
        )  # fmt: skip
        change = after - before
        rows[group] = {
            "template": before.mean(),
            "focus": after.mean(),
            "change": change.mean(),
            "spread": change.std(ddof=1) if len(change) > 1 else math.nan,
        }
    return pd.DataFrame(rows).T


def _named_groups(evidence: Evidence) -> pd.DataFrame:
    return group_shares(evidence).rename(index=GROUPS)


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
        return ", and its standard deviation over seeds."
    return "; one training, so that nothing is known of the noise between trainings."


def _change_figure(
    study: Study, file: str, label: str, shares: Callable[[Evidence], pd.DataFrame]
) -> list[Figure]:
    """The changes of all strata side by side."""
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
            f"points; mean of {trainings} training{'' if seeds == [1] else 's'}. Blue is a gain, "
            "red a loss; single cells rest on few locations and are mostly noise.",
            f"Heat map of the change in points by {label} and stratum.",
            draw_changes(changes, label),
        )
    ]
