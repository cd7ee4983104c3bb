"""Picks the best of a search's finished trials.

A candidate is a finished FocusNet trial of the search that has the metric. The candidate with the
highest value wins, the first one of equals. Controls and trials that confirm a winner never win.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from focusnet.arms import FOCUSNET

if TYPE_CHECKING:
    import pandas as pd

SEARCH = "search"  # the phase of a study whose trials can win


def is_candidate(*, arm: str, phase: str, status: str, value: float | None) -> bool:
    """Whether a trial can win; ``value`` is its metric, None or NaN where it has none."""
    if value is None or math.isnan(value):
        return False
    return arm == FOCUSNET and phase == SEARCH and status == "finished"


def position_of_best(values: Iterable[float]) -> int:
    """Position of the highest value, the first one of equals; ``values`` of candidates only."""
    values = list(values)
    return values.index(max(values))


def candidate_rows(trials: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """The rows of ``trials.parquet`` that can win.

    Tables of studies older than controls and confirmation have no ``phase``: all was search.
    """
    if metric not in trials:
        return trials.iloc[:0]
    phases = trials["phase"] if "phase" in trials else [SEARCH] * len(trials)
    facts = zip(trials["arm"], phases, trials["status"], trials[metric], strict=True)
    return trials.iloc[
        [
            position
            for position, (arm, phase, status, value) in enumerate(facts)
            if is_candidate(arm=arm, phase=phase, status=status, value=value)
        ]
    ]


def winning_row(candidates: "pd.DataFrame", metric: str) -> "pd.Series":
    """The best observed of ``candidate_rows``, of which there must be one at least."""
    return candidates.iloc[position_of_best(candidates[metric])]
