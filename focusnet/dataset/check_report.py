"""Holds what a check of a data set has found, and words it for a person."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_SHOWN = 5  # names listed in a message; the number of the others follows


@dataclass
class CheckReport:
    """The problems found, and what was looked at.

    An error makes a study refuse the data set, or makes its test accuracy wrong. ``formats`` counts
    files by format, such as "44100 Hz, 1 channel, PCM_24"; ``seconds`` and ``bytes`` are sums over
    the readable files; ``coverage`` has a sentence for each check that was made.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    bytes: int = 0
    coverage: list[str] = field(default_factory=list)


def problems_by_reason(names: Sequence[str], reasons: Mapping[int, str]) -> list[str]:
    """A problem for each distinct reason; ``reasons`` are by position in ``names``."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, reason in sorted(reasons.items()):
        rows[reason].append(row)
    return [
        problem
        for reason, members in rows.items()
        for problem in count_problem(reason, (names[row] for row in members))
    ]


def count_problem(problem: str, names: Iterable[str]) -> list[str]:
    """The problem with the number of ``names`` and the first of them; nothing without names."""
    found = list(names)
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return [f"{problem}: {len(found):,} ({', '.join(found[:_SHOWN])}{more})"] if found else []
