"""Reads how a study plans to confirm its winners: seeds, halves, margin, looks and their levels."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focusnet.statistics.verdict import AVERAGE_ALPHA, MARGIN

LOOKS = "looks.json"
FIXED = ("sobol", "random", "grid")  # searches that are decided in advance


@dataclass(frozen=True)
class ConfirmationPlan:
    """The section ``confirm`` of a study's space, and the looks that its driver has taken.

    Attributes:
        looks: for each planned look, the number of seeds in each stratum by then; without planned
            looks a single one; empty where the study has no confirmation.
        are_planned: whether the study plans its looks; then a look counts when the driver has
            taken it.
        cross_fit: whether winners are chosen on either half and judged on the other.
        margin: smallest effect that matters, in points.
        search_is_fixed: whether the search was decided in advance.
        records: the looks taken, see ``study.ledger.looks``.
    """

    looks: tuple[Mapping[Any, int], ...]
    are_planned: bool
    cross_fit: bool
    margin: float
    search_is_fixed: bool
    records: tuple[Mapping[str, Any], ...] = ()

    def seeds(self, stratum: Any, look: int | None = None) -> int:
        """Seeds of a stratum up to a look, by default the last one."""
        if not self.looks:
            return 0
        return self.looks[-1 if look is None else look - 1].get(stratum, 0)

    @property
    def looks_taken(self) -> int:
        """Number of the last look that the driver has taken; 0: none."""
        return int(self.records[-1]["look"]) if self.records else 0

    @property
    def level(self) -> float:
        """The p-value at which the last look claims something about the average."""
        return float(self.records[-1]["level"]) if self.records else AVERAGE_ALPHA

    @property
    def current_look(self) -> int:
        """The look whose trials are under way, or the last one."""
        return min(self.looks_taken + 1, len(self.looks)) if self.are_planned else 1

    def next_look(self) -> int | None:
        """The look after the last one taken; None where there is none."""
        taken = self.looks_taken
        return taken + 1 if self.are_planned and 0 < taken < len(self.looks) else None


def information(looks: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """Of each look as a share of the last one's: noise of trainings goes as 1 / seeds."""
    variances = [sum(1 / max(count, 1) for count in look) for look in looks]
    return tuple(variances[-1] / variance for variance in variances)


def read_plan(space: Mapping[str, Any], strata: Sequence[Any], folder: Path) -> ConfirmationPlan:
    """The plan in a study's ``space.yaml`` and ``looks.json``, whatever version wrote them."""
    confirm = space.get("confirm") or {}
    search = space["search"]
    scheduler = (search.get("scheduler") or {}).get("name", "none")
    planned = confirm.get("looks") or []
    counts = planned or [confirm.get("seeds") or 0]
    looks = tuple(_by_stratum(one, strata) for one in counts)
    path = folder / LOOKS
    records = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return ConfirmationPlan(
        looks=tuple(one for one in looks if any(one.values())),
        are_planned=bool(planned),
        cross_fit=bool(confirm.get("cross_fit", False)),
        margin=float(confirm.get("margin", MARGIN)),
        search_is_fixed=search.get("algorithm") in FIXED and scheduler == "none",
        records=tuple(records),
    )


def _by_stratum(seeds: Any, strata: Sequence[Any]) -> dict[Any, int]:
    """Seeds of each stratum; given as a number, a list, or one of these by stratum."""
    if isinstance(seeds, Mapping):
        return {value: _count(seeds.get(value, seeds.get(str(value), 0))) for value in strata}
    return dict.fromkeys(strata, _count(seeds))


def _count(seeds: Any) -> int:
    return len(seeds) if isinstance(seeds, list) else int(seeds or 0)
