"""Estimates which settings are best in each stratum of a search, tried or not.

A Gaussian process is fitted to the finished trials of all strata jointly. The candidates of each
stratum are the settings tried in any stratum, which come first of equals, and ``FURTHER`` ones that
cover the space evenly: in simulated searches the winner then came a little closer to the best.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from focusnet.statistics.surface import Surface, fit_surface
from focusnet.winner.unit_cube import UnitCube, stratum_distances

FURTHER = 256  # settings that have not been tried, a power of 2
_EQUAL = 1e-9  # estimates of an accuracy that differ by less are equal: rounding decides


@dataclass(frozen=True)
class SearchSpace:
    """What the rule needs of a space file.

    Attributes:
        domains: the section ``space``.
        stratify: the parameter that has a search for each of its values; None: a single search.
        seed: of the search.
    """

    domains: Mapping[str, Mapping[str, Any]]
    stratify: str | None
    seed: int

    @cached_property
    def cube(self) -> UnitCube:
        """Of the parameters that a stratum's search varies, whatever their order in the file."""
        return UnitCube({p: self.domains[p] for p in sorted(self.domains) if p != self.stratify})

    def stratum_of(self, parameters: Mapping[str, Any]) -> Any:
        if self.stratify is None:
            return None
        only = {self.stratify: self.domains[self.stratify]}
        return UnitCube(only).settings_of(parameters)[self.stratify]

    def plain(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters among ``values``, such as a row of a table, as the space file has them."""
        return self.parameters(self.stratum_of(values), self.cube.settings_of(values))

    def parameters(self, stratum: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings and the stratum, in the order of the space file."""
        return {p: stratum if p == self.stratify else settings[p] for p in self.domains}


class Landscape:
    """Finished trials of a search, from which any settings in any stratum can be estimated.

    Args:
        observed: the parameters and the metric of each candidate, in the order of the ledger.
    """

    def __init__(
        self, space: SearchSpace, observed: Sequence[tuple[Mapping[str, Any], float]]
    ) -> None:
        of = [space.stratum_of(parameters) for parameters, _ in observed]
        self.space = space
        by_key: dict[str, Any] = {_key(one): one for one in of}
        self.strata = list(by_key.values())
        self.settings = [space.cube.settings_of(parameters) for parameters, _ in observed]
        self._values = np.array([value for _, value in observed], float)
        places = {_key(one): place for place, one in enumerate(self.strata)}
        self._stratum = [places[_key(one)] for one in of]

    @property
    def can_be_fitted(self) -> bool:
        """Whether there are more trials than strata, so that noise can be told from merit."""
        return len(self._values) > len(self.strata)

    def finished(self, stratum: Any) -> int:
        """Number of trials of a stratum."""
        return self._stratum.count([_key(one) for one in self.strata].index(_key(stratum)))

    def estimate(self, settings: Sequence[Mapping[str, Any]]) -> Surface:
        """Posterior mean and standard deviation of ``settings`` in each of ``strata``."""
        cube = self.space.cube
        return fit_surface(
            cube.points(self.settings),
            self._stratum,
            self._values,
            cube.points(settings),
            stratum_distances(self.strata),
        )


@dataclass(frozen=True)
class Estimated:
    """The settings that are estimated best in a stratum; ``parameters`` include the stratum."""

    stratum: Any
    parameters: dict[str, Any]
    mean: float
    sd: float
    finished: int  # trials of the stratum


def estimated_best(
    space: SearchSpace,
    observed: Sequence[tuple[Mapping[str, Any], float]],
    failed: Sequence[Mapping[str, Any]] = (),
) -> list[Estimated] | None:
    """The winner of each stratum with a trial by the rule ``posterior_mean``.

    Args:
        observed: the parameters and the metric of each candidate, in the order of the ledger.
        failed: parameters of trials that failed for good, and so cannot win in their stratum.

    Returns:
        None if there are too few trials for an estimate.
    """
    facts = [space.domains, space.stratify, space.seed]
    pairs = [[space.plain(parameters), float(value)] for parameters, value in observed]
    # The fit takes a while, and a study asks for its winners often.
    return _estimated_best(json.dumps([*facts, pairs, [space.plain(one) for one in failed]]))


@lru_cache(maxsize=16)
def _estimated_best(facts: str) -> list[Estimated] | None:
    domains, stratify, seed, observed, failed = json.loads(facts)
    space = SearchSpace(domains, stratify, seed)
    landscape = Landscape(space, observed)
    if not landscape.can_be_fitted:
        return None
    every = [*landscape.settings, *space.cube.spread(FURTHER, seed)]
    candidates = list({_key(one): one for one in every}.values())
    surface = landscape.estimate(candidates)
    excluded = {_key(one) for one in failed}
    found = []
    for place, stratum in enumerate(landscape.strata):
        parameters = [space.parameters(stratum, one) for one in candidates]
        allowed = np.array([_key(one) not in excluded for one in parameters])
        means = np.where(allowed, surface.mean[place], -np.inf)
        best = int(np.argmax(means >= means.max() - _EQUAL))
        mean, sd = float(means[best]), float(surface.sd[place, best])
        found.append(Estimated(stratum, parameters[best], mean, sd, landscape.finished(stratum)))
    return found


def _key(value: Any) -> str:
    """Equal for equal settings; True is not 1."""
    return json.dumps(value, sort_keys=True)
