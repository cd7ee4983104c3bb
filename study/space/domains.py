"""Domains of searched parameters: a list of choices or a range, as a space file states them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = (
    "{choice: [a, b, ...]}, {uniform: [low, high]}, {loguniform: [low, high]}, {int: [low, high]}"
)


@dataclass(frozen=True)
class Choice:
    """One of a list of values."""

    values: tuple[Any, ...]

    def draw(self, generator: np.random.Generator) -> Any:
        return self.values[int(generator.integers(len(self.values)))]

    def extremes(self) -> tuple[Any, ...]:
        """All values of a choice, both ends of a range: if these are valid, the domain is."""
        return self.values

    def size(self) -> float:
        """Number of distinct values; infinite for a range of real numbers."""
        return len(self.values)

    def content(self) -> dict[str, Any]:
        """The domain as a space file states it."""
        return {"choice": list(self.values)}

    def __str__(self) -> str:
        return ", ".join("null" if value is None else str(value) for value in self.values)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; ``kind`` is uniform, loguniform or int (both inclusive)."""

    kind: str
    low: float
    high: float

    def draw(self, generator: np.random.Generator) -> float | int:
        if self.kind == "int":
            return int(generator.integers(int(self.low), int(self.high), endpoint=True))
        if self.kind == "uniform":
            return float(generator.uniform(self.low, self.high))
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(value, self.low), self.high)  # exp(log(x)) may differ from x by rounding

    def extremes(self) -> tuple[Any, ...]:
        return self.low, self.high

    def size(self) -> float:
        return self.high - self.low + 1 if self.kind == "int" else math.inf

    def content(self) -> dict[str, Any]:
        return {self.kind: [self.low, self.high]}

    def __str__(self) -> str:
        return f"{self.kind} {self.low:g} to {self.high:g}"


Domain = Choice | Range


def parse_domain(content: Any) -> tuple[Domain | None, list[str]]:
    """Parse one value of the ``space`` section; returns the domain, or None and the problems."""
    if not isinstance(content, Mapping) or len(content) != 1:
        return None, [f"must be one of {KINDS}, received {content!r}"]
    kind, values = next(iter(content.items()))
    if kind == "choice":
        return _parse_choice(values)
    if kind in ("uniform", "loguniform", "int"):
        return _parse_range(kind, values)
    return None, [f"unknown kind {kind!r}: must be one of {KINDS}"]


def _parse_choice(values: Any) -> tuple[Domain | None, list[str]]:
    if not isinstance(values, list) or not values:
        return None, [f"choice must be a list of at least one value, received {values!r}"]
    nested = [value for value in values if isinstance(value, dict | list)]
    if nested:
        return None, [f"choice must hold plain values, received {nested[0]!r}"]
    problems = []
    seen: list[tuple[bool, Any]] = []
    for value in values:
        key = isinstance(value, bool), value  # True == 1 in Python, not in YAML
        if key in seen:
            problems.append(f"choice holds {value!r} twice")
        seen.append(key)
    return (None, problems) if problems else (Choice(tuple(values)), [])


def _parse_range(kind: str, ends: Any) -> tuple[Domain | None, list[str]]:
    if not isinstance(ends, list) or len(ends) != 2:
        return None, [f"{kind} must be a list [low, high], received {ends!r}"]
    number = int if kind == "int" else (int, float)
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, number) or not math.isfinite(end):
            wanted = "whole numbers" if kind == "int" else "finite numbers"
            return None, [f"{kind} needs {wanted}, received {end!r}"]
    low, high = ends
    problems = []
    if low >= high:
        problems.append(f"{kind} needs low < high, received [{low}, {high}]")
    if kind == "loguniform" and low <= 0:
        problems.append(f"loguniform needs low > 0, received {low}")
    if problems:
        return None, problems
    return Range(kind, low, high) if kind == "int" else Range(kind, float(low), float(high)), []
