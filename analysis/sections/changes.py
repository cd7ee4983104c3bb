"""Shows what FocusNet changed against its template: by scene, confused pair of scenes, and device.

Where trials train students, their changes follow, by scene and device.
"""

import math
from collections.abc import Callable

import pandas as pd

from analysis.figures.models import draw_changes, draw_confusions
from analysis.read_study import Study
from analysis.render.document import Block, Figure, Section, Table, number, percent, points
from analysis.sections.evidence import Evidence, all_evidence, evidence_of, main_evidence
from analysis.sections.wording import NO_PREDICTIONS
from analysis.tables.confusions import MOST_CONFUSED, most_confused
from analysis.tables.predictions import scenes_of


def confusions_sections(study: Study) -> list[Section]:
    """``confusions_section`` of every stratum that has predictions."""
    return [confusions_section(one) for one in all_evidence(study)]


def classes_section(study: Study) -> Section:
    """Accuracy by scene, of template and FocusNet, and of their students."""
    title = "Classes"
    evidence = main_evidence(study)
    if evidence is None:
        return Section(title, [NO_PREDICTIONS])
    blocks = _scenes(evidence)
    blocks += _change_figure(study, "classes.png", "scene", lambda one: one.shares("scene"))
    students = evidence_of(evidence.stratum, "student")
    return Section(title, blocks if students is None else [*blocks, *_scenes(students)])


def _scenes(evidence: Evidence) -> list[Block]:
    table = evidence.shares("scene").reindex(scenes_of(evidence.clips)).dropna(how="all")
    return [
        f"{evidence.source}: share of each scene's clips classified correctly, and the change "
        f"in points. {_spread_note(evidence)}",
        Table(("scene", *_header(evidence)), _rows(evidence, table), frozenset({"scene"})),
    ]


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
    """Accuracy by device and device group, of template and FocusNet, and of their students."""
    title = "Devices"
    if evidence is None:
        return Section(title, [NO_PREDICTIONS])
    blocks = _devices(evidence)
    if len(all_evidence(study)) > 1:
        blocks += _change_figure(study, "devices.png", "device group", Evidence.group_shares)
    students = evidence_of(evidence.stratum, "student")
    return Section(title, blocks if students is None else [*blocks, *_devices(students)])


def _devices(evidence: Evidence) -> list[Block]:
    rows = _rows(evidence, evidence.shares("device"))
    groups = evidence.group_shares().dropna(subset="template")
    rows += _rows(evidence, groups.assign(clips=math.nan))
    return [
        f"{evidence.source}: share of clips classified correctly, and the change in points. "
        f"{_spread_note(evidence)} Numbers are coarse where a device has few clips.",
        Table(("device", *_header(evidence)), rows, frozenset({"device"})),
    ]


def _header(evidence: Evidence) -> tuple[str, ...]:
    spread = ("sd over seeds",) if len(evidence.trials) > 1 else ()
    before, after = evidence.names
    return "clips", f"{before} %", f"{after} %", "change", *spread


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
