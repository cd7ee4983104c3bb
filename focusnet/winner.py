"""Picks the winners of a search: the rules that the study, its report and its export follow.

A candidate is a finished FocusNet trial of the search that has the metric. Controls and trials that
confirm a winner never win. By the rule ``best_observed`` the candidate with the highest value wins,
the first one of equals. By ``posterior_mean`` those settings win in a stratum that a Gaussian
process, fitted to the candidates of all strata jointly, estimates best there. They need not have
been tried: they are among the settings tried in any stratum, which come first of equals, and
``FURTHER`` ones that cover the space evenly.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from focusnet.arms import FOCUSNET
from focusnet.statistics.surface import Surface, fit_surface
from focusnet.statistics.unit_cube import UnitCube, stratum_distances

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["posterior_mean", "best_observed"]
POSTERIOR_MEAN: Rule = "posterior_mean"
BEST_OBSERVED: Rule = "best_observed"
SEARCH = "search"  # the phase of a study whose trials can win
FURTHER = 256  # settings that have not been tried, a power of 2
FEWEST_TRIALS = 8  # of a stratum; with fewer, the choice is nearly luck
NEVER_TRAINED = "setting estimated best, never trained in the search"
_EQUAL = 1e-9  # estimates of an accuracy that differ by less are equal: rounding decides


def is_candidate(*, arm: str, phase: str, status: str, value: float | None) -> bool:
    """Whether a trial can win; ``value`` is its metric, None or NaN where it has none."""
    if value is None or math.isnan(value):
        return False
    return arm == FOCUSNET and phase == SEARCH and status == "finished"


def position_of_best(values: Iterable[float]) -> int:
    """Position of the highest value, the first one of equals; ``values`` of candidates only."""
    values = list(values)
    return values.index(max(values))


def candidate_rows(trials: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """The rows of ``trials.parquet`` that can win.

    Tables of studies older than controls and confirmation have no ``phase``: all was search.
    """
    if metric not in trials:
        return trials.iloc[:0]
    phases = trials["phase"] if "phase" in trials else [SEARCH] * len(trials)
    facts = zip(trials["arm"], phases, trials["status"], trials[metric], strict=True)
    return trials.iloc[
        [
            position
            for position, (arm, phase, status, value) in enumerate(facts)
            if is_candidate(arm=arm, phase=phase, status=status, value=value)
        ]
    ]


def winning_row(candidates: "pd.DataFrame", metric: str) -> "pd.Series":
    """The best observed of ``candidate_rows``, of which there must be one at least."""
    return candidates.iloc[position_of_best(candidates[metric])]


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
        """Of the parameters that a stratum's search varies."""
        return UnitCube({p: one for p, one in self.domains.items() if p != self.stratify})

    def stratum_of(self, parameters: Mapping[str, Any]) -> Any:
        if self.stratify is None:
            return None
        only = {self.stratify: self.domains[self.stratify]}
        return UnitCube(only).settings_of(parameters)[self.stratify]

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
        self.strata = list({_key(one): one for one in of}.values())
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
    pairs = [[_plain(space, parameters), float(value)] for parameters, value in observed]
    # The fit takes a while, and a study asks for its winners often.
    return _estimated_best(json.dumps([*facts, pairs, [_plain(space, one) for one in failed]]))


def _plain(space: SearchSpace, parameters: Mapping[str, Any]) -> dict[str, Any]:
    own = space.cube.settings_of(parameters)
    return space.parameters(space.stratum_of(parameters), own)


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


def doubt(wanted: str, used: str, finished: int) -> str | None:
    """What is to be said against a winner that was chosen from few trials; None if nothing is.

    Args:
        wanted: the rule of the study.
        used: the rule by which the winner was chosen.
        finished: trials of its stratum.
    """
    if wanted != POSTERIOR_MEAN:
        return None
    if used != wanted:
        return (
            f"{finished} finished trials in its search, too few for an estimate: it is the best "
            "observed one, and the choice is nearly luck"
        )
    if finished < FEWEST_TRIALS:
        return (
            f"{finished} finished trials in its search, fewer than {FEWEST_TRIALS}: the choice is "
            "nearly luck"
        )
    return None


def _key(value: Any) -> str:
    """Equal for equal settings; True is not 1."""
    return json.dumps(value, sort_keys=True)
