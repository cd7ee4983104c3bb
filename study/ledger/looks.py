"""Records each look at a confirmation in ``looks.json``: once, when it is taken.

What a look has found decides what follows, so a record is never rewritten: a study that was killed
goes on with the decision that it has seen.
"""

import json
from pathlib import Path
from typing import Any, TypedDict

from focusnet.statistics.verdict import Verdict
from focusnet.system.atomic import write_json

FILE = "looks.json"


class StratumRecord(TypedDict):
    """One stratum at a look."""

    stratum: Any
    planned: int  # seeds up to this look
    winners: dict[str, str]  # by the half that each was chosen on
    seeds: dict[str, list[int]]  # judged on each half
    left_out: list[str]  # trials that have no result
    counted: bool  # whether the stratum is part of the average
    estimate: float | None


class LookRecord(TypedDict):
    """One look: the average effect of FocusNet over its template, in points."""

    look: int  # its number in the plan, from 1
    of: int  # looks in the plan at that time
    time: str  # UTC, ISO 8601
    strata: list[StratumRecord]
    information: float  # as a share of the last look's
    alpha: float  # which all looks may spend
    level: float  # the p-value at which this look claims
    margin: float
    estimate: float | None  # None: no stratum could be judged
    interval: list[float] | None  # 95 %, for new locations
    interval_here: list[float] | None  # 95 %, on these locations
    p: float | None
    verdict: Verdict
    follows: str  # what the study does next, in words


def read_looks(folder: Path) -> list[LookRecord]:
    """The looks of the study in ``folder``, in the order in which they were taken."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.is_file() else []


def add_look(folder: Path, record: LookRecord) -> None:
    """Record a look."""
    write_json(folder / FILE, [*read_looks(folder), record])


def winners_of(record: LookRecord) -> list[tuple[Any, dict[str, str]]]:
    """Whom the look judged: stratum, and the winners by the half that they were chosen on."""
    return [(one["stratum"], one["winners"]) for one in record["strata"]]
