"""Reads the searched parameters of ``space.yaml``, and tells whether a value is at a range's edge.

Where a winner is at an edge, the range has decided, not the search.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EDGE = 0.05  # share of a range, on its own scale, that counts as its edge
FEWEST_CHOICES_WITH_AN_INSIDE = 3  # two choices are both ends


@dataclass(frozen=True)
class Parameter:
    """One searched parameter: its dotted path, its kind, and its choices or range."""

    path: str
    kind: str  # choice, uniform, loguniform, int
    values: tuple[Any, ...]  # the choices, or low and high

    @property
    def is_numeric(self) -> bool:
        return all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )

    @property
    def is_logarithmic(self) -> bool:
        return self.kind == "loguniform"

    @property
    def size(self) -> float:
        """Number of distinct values; infinite for ranges of real numbers."""
        if self.kind == "choice":
            return len(self.values)
        low, high = self.values
        return high - low + 1 if self.kind == "int" else math.inf

    def edge(self, value: Any) -> str | None:
        """``lower`` or ``upper`` where ``value`` is at an end of the range, else None."""
        if not self.is_numeric or isinstance(value, str) or value is None or math.isnan(value):
            return None
        low, high = min(self.values), max(self.values)
        if self.kind == "choice":
            if len(self.values) < FEWEST_CHOICES_WITH_AN_INSIDE:
                return None
            place = float(value > low) if value in (low, high) else 0.5
        elif self.is_logarithmic:
            place = math.log(value / low) / math.log(high / low)
        else:
            place = (value - low) / (high - low)
        if place <= EDGE:
            return "lower"
        return "upper" if place >= 1 - EDGE else None

    def __str__(self) -> str:
        if self.kind == "choice":
            return "choice " + ", ".join(show(value) for value in self.values)
        low, high = self.values
        return f"{self.kind} {show(low)} to {show(high)}"


def read_parameters(space: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a space file's ``space`` section, by dotted path."""
    found = {}
    for path, content in space.items():
        kind, values = next(iter(content.items()))
        found[path] = Parameter(path, kind, tuple(values))
    return found


def show(value: Any) -> str:
    """A parameter's value for people; a missing one is YAML's ``null``."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
