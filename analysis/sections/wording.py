"""Wording that several sections share: names of strata and trials, and repeated notes."""

from typing import Any

from analysis.read_study import Stratum, Study
from analysis.render.document import counted
from analysis.tables.parameters import show
from focusnet.location_interval import LEVEL

INTERVAL = f"{100 * LEVEL:g} % interval"
NO_PREDICTIONS = "No finished trial has predictions yet."


def stratum_header(study: Study) -> tuple[str, ...]:
    """Return the stratum's column name, such as ``subset``; nothing for a single search."""
    return (study.stratify.rpartition(".")[2],) if study.stratify else ()


def stratum_cell(study: Study, stratum: Stratum) -> tuple[str, ...]:
    """Return the stratum's cell below ``stratum_header``."""
    return (show(stratum.value),) if study.stratify else ()


def stratum_prefix(study: Study, stratum: Stratum) -> str:
    """Return how a sentence begins, such as ``subset 25: ``; empty for a single search."""
    return f"{stratum.label}: " if study.stratify else ""


def last_part(trial: Any) -> str:
    """Return the end of a trial's name, which is enough to find it."""
    return str(trial).rpartition("-")[2]


def lone_locations_note(scenes: int) -> str:
    """Warn that ``scenes`` scenes have one test location each."""
    return (
        f"{counted(scenes, 'scene')} with a single test location: noise between locations cannot "
        "be measured there, so the intervals are too narrow."
    )
