"""One stratum of a study: its search, its winners, and the trials that followed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.inference.confirmation import Confirmation
from analysis.inference.plan import ConfirmationPlan
from focusnet.arms import FOCUSNET
from focusnet.winner import POSTERIOR_MEAN, TableWinner


@dataclass(frozen=True)
class Stratum:
    """One independent search and the trials that followed it.

    Attributes:
        value: of the parameter that the study is stratified by; None in a study of one search.
        label: such as ``subset 25``.
        trials: of the search.
        winner: its row; of one that the search has never trained, its parameters alone.
        clips: the winner's predictions on report, see ``predictions.paired_clips``.
        problem: why a winner has no clips.
        controls: trials of the other arms with the search's seeds.
        confirmation: winners and controls, trained again with fresh seeds.
        winner_names: names of the winners that are confirmed, by the half they were chosen on.
        searches: trials of every arm that was searched, FocusNet included.
        choice: how the winner that was chosen on select was chosen.
    """

    value: Any
    label: str
    trials: pd.DataFrame
    winner: pd.Series | None
    clips: pd.DataFrame | None
    problem: str | None
    controls: pd.DataFrame
    confirmation: Confirmation
    winner_names: Mapping[str, str]
    searches: Mapping[str, pd.DataFrame]
    choice: TableWinner | None = None

    @property
    def is_estimated(self) -> bool:
        """Whether its winner is the setting that all trials together estimate best."""
        return self.choice is not None and self.choice.rule == POSTERIOR_MEAN

    @property
    def is_untried(self) -> bool:
        """Whether its winner was never trained in the search."""
        return self.choice is not None and self.choice.row is None

    @property
    def any_clips(self) -> pd.DataFrame | None:
        """Predictions of the winner's trial, or else of its trainings with fresh seeds."""
        return self.confirmation.pooled() if self.clips is None else self.clips

    @property
    def finished(self) -> int:
        return int((self.trials["status"] == "finished").sum())

    @property
    def tried(self) -> int:
        """Number of trials that the winner was picked from: stopped ones lost on select, too."""
        return int(self.trials["status"].isin(["finished", "stopped"]).sum())


def winner_names(
    plan: ConfirmationPlan, value: Any, choices: Mapping[str, TableWinner]
) -> dict[str, str]:
    """Names of a stratum's winners by the half they were chosen on: those that claims are about.

    They are the winners that the last look judged; before a look has been taken, the current ones.
    """
    for record in reversed(plan.records):
        for one in record.get("strata", ()):
            if one["stratum"] == value:
                return dict(one["winners"])
    return {half: one.name for half, one in choices.items() if one.name is not None}


def is_same(in_table: Any, value: Any) -> bool:
    """Whether a table, in which null is NaN, means the stratum ``value``."""
    return bool(pd.isna(in_table)) if value is None else in_table == value


def row_of(winner: TableWinner) -> pd.Series:
    """The winner's row; of one that the search has never trained, what is known without one."""
    if winner.row is not None:
        return winner.row
    return pd.Series({"trial": winner.name, "arm": FOCUSNET, **winner.parameters}, dtype=object)
