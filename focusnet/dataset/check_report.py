"""What a check has found and how much it has looked at, in words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

_SHOWN = 5  # offenders named in a message; their count follows

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """Something found; an error is what a study refuses, or what makes its test accuracy false."""

    severity: Severity
    text: str


@dataclass
class Findings:
    """What the checks found, and how much they looked at."""

    problems: list[Problem] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)  # such as "44100 Hz, 1 channel, PCM_24"
    seconds: float = 0.0
    bytes: int = 0
    checked: list[str] = field(default_factory=list)  # sentences on coverage

    def add(self, severity: Severity, texts: Iterable[str]) -> None:
        """Add a problem for each of ``texts``."""
        self.problems += [Problem(severity, text) for text in texts]


def by_reason(names: Sequence[str], why: Mapping[int, str]) -> list[str]:
    """A problem for each reason in ``why`` (by row of ``names``), with those it holds for."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, reason in sorted(why.items()):
        rows[reason].append(row)
    return [text for reason, members in rows.items() for text in counted(reason, names, members)]


def counted(what: str, names: Sequence[str], rows: Iterable[int] | None = None) -> list[str]:
    """One problem that counts the offenders and names the first, or none."""
    found = list(names) if rows is None else [names[row] for row in rows]
    return [f"{what}: {len(found):,} ({named_first(found)})"] if found else []


def named_first(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
