"""Numbers that a space file gives once for all strata, or for each stratum: ``{5: 24, 10: 16}``."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from focusnet.config import Count


def _kind(value: Any) -> str:
    return "(by stratum)" if isinstance(value, dict) else "(number)"


# The tags lead to one message for a mistake, not one for each kind.
CountByStratum = Annotated[
    Annotated[Count, Tag("(number)")] | Annotated[dict[Any, Count], Tag("(by stratum)")],
    Discriminator(_kind),
]


def number_of(setting: int | dict[Any, int], stratum: Any) -> int:
    """The number for ``stratum``."""
    return setting if isinstance(setting, int) else setting[stratum]


def stratum_problems(path: str, setting: Any, strata: Collection[Any] | None) -> Iterator[str]:
    """Rules on the strata that ``setting``, if it is a mapping, names: each one, and no others.

    ``strata`` is None in a study without strata.
    """
    if not isinstance(setting, dict):
        return
    if strata is None:
        yield (
            f"{path}: numbers by stratum need search.stratify, received {setting!r}: give one "
            "number"
        )
        return
    known = [_key(stratum) for stratum in strata]
    names = ", ".join(map(str, strata))
    for stratum, number in setting.items():
        if _key(stratum) not in known:
            yield f"{path}.{stratum}: no such stratum ({names}), received {number!r}"
    given = [_key(stratum) for stratum in setting]
    for stratum in strata:
        if _key(stratum) not in given:
            yield f"{path}: must name every stratum ({names}), lacks {stratum}"


def _key(stratum: Any) -> tuple[bool, Any]:
    return isinstance(stratum, bool), stratum  # True == 1 in Python, not in YAML
