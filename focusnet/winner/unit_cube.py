"""Maps the settings of a search to points of the unit cube and back.

Each parameter has a coordinate on its own scale: the logarithm of a ``loguniform`` one, the value
of a ``uniform`` or an ``int`` one. A choice has a coordinate for each of its values, such that any
two of them are at distance 1; a single choice contributes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHOICE = "choice"
_DIGITS = 6  # of a number that is mapped back: all machines then agree on it


class UnitCube:
    """The cube of some searched parameters.

    Args:
        domains: by dotted path, as the ``space`` section of a space file states them.
    """

    def __init__(self, domains: Mapping[str, Mapping[str, Any]]) -> None:
        self._domains = {path: next(iter(content.items())) for path, content in domains.items()}

    def settings_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters among ``values``, each as the space file would state it.

        A table may hold 25 as 25.0 and null as NaN.

        Raises:
            ValueError: a choice does not have the value.
        """
        return {
            path: _exact(kind, ends, values[path]) for path, (kind, ends) in self._domains.items()
        }

    def points(self, settings: Sequence[Mapping[str, Any]]) -> Floats:
        """(settings, dimensions) their points."""
        rows = [
            [
                coordinate
                for path, (kind, ends) in self._domains.items()
                for coordinate in _coordinates(kind, ends, one[path])
            ]
            for one in settings
        ]
        return np.array(rows, float).reshape(len(rows), -1)

    def spread(self, count: int, seed: int) -> list[dict[str, Any]]:
        """``count`` settings that cover the cube evenly, by a scrambled Sobol sequence.

        ``count`` is a power of 2. Where only choices or few whole numbers are searched, settings
        repeat.
        """
        free = [path for path, (_, ends) in self._domains.items() if len(ends) > 1]
        if not free:
            return []
        from scipy.stats import qmc  # takes a second to import

        # Not the seed alone, which a search by a Sobol sequence may have used.
        generator = np.random.default_rng((seed, count))
        shares = qmc.Sobol(len(free), rng=generator).random(count)
        return [self.settings_at(dict(zip(free, row, strict=True))) for row in shares.tolist()]

    def settings_at(self, shares: Mapping[str, float]) -> dict[str, Any]:
        """The settings at shares from 0 to 1 of each range, or of the list of choices.

        A parameter that ``shares`` does not name has its first value.
        """
        return {
            path: _value_at(kind, ends, shares.get(path, 0.0))
            for path, (kind, ends) in self._domains.items()
        }


def stratum_distances(strata: Sequence[Any]) -> Floats:
    """(strata, strata) ``|log a - log b|`` of positive numbers; else 1 between different ones."""
    numbers = all(
        isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in strata
    )
    if not numbers:
        return 1.0 - np.eye(len(strata))
    logarithms = np.log(np.array(strata, float))
    return np.abs(logarithms[:, None] - logarithms[None])


def _exact(kind: str, ends: Sequence[Any], value: Any) -> Any:
    if kind == CHOICE:
        return ends[_place(ends, value)]
    return int(value) if kind == "int" else float(value)


def _place(choices: Sequence[Any], value: Any) -> int:
    """Position of ``value`` among ``choices``."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    same = [one is None if missing else one is not None and one == value for one in choices]
    # True equals 1 in Python, not in a space file.
    exact = [
        fits and isinstance(one, bool) == isinstance(value, bool | np.bool_)
        for fits, one in zip(same, choices, strict=True)
    ]
    places = exact if any(exact) else same
    if not any(places):
        raise ValueError(f"{value!r} is none of {', '.join(map(repr, choices))}")
    return places.index(True)


def _coordinates(kind: str, ends: Sequence[Any], value: Any) -> list[float]:
    if kind == CHOICE:
        if len(ends) == 1:
            return []
        place = _place(ends, value)
        return [math.sqrt(0.5) * (one == place) for one in range(len(ends))]
    low, high = ends
    if kind == "loguniform":
        return [math.log(value / low) / math.log(high / low)]
    return [(value - low) / (high - low)]


def _value_at(kind: str, ends: Sequence[Any], share: float) -> Any:
    if kind == CHOICE:
        return ends[min(int(share * len(ends)), len(ends) - 1)]
    low, high = ends
    if kind == "int":
        return low + min(int(share * (high - low + 1)), high - low)
    if kind == "loguniform":
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    return float(min(max(float(f"{value:.{_DIGITS}g}"), low), high))
