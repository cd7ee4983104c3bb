"""A searched parameter as ``space.yaml`` records it, and whether a value sits at its edge.

A winner at the edge of its range says that the range, not the search, decided.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

EDGE = 0.05  # the outer share of a range, on its own scale, that counts as its edge
FEWEST_CHOICES_WITH_AN_INSIDE = 3  # of two values, each is an end


@dataclass(frozen=True)
class Parameter:
    """One entry of the space: its dotted path, its kind and its values or ends."""

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


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted path, or all of it where two end alike."""
    last = {path: path.rpartition(".")[2] for path in paths}
    ends = list(last.values())
    return {path: name if ends.count(name) == 1 else path for path, name in last.items()}


def show(value: Any) -> str:
    """A parameter's value for people; a missing one is YAML's ``null``."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
