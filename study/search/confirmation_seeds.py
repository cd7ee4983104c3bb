"""Numbers the fresh seeds of a confirmation: distinct between strata, and never used twice.

Stratum i of K has the numbers ``first + j * K + i`` with j = 0, 1, ..., where ``first`` is above
the seeds of the search and of the controls. Trainings of different strata then have nothing in
common, as the average over strata supposes. With two winners a stratum, even j are the winner's
that is judged on ``report``, odd j the other's.

A winner keeps the seeds of trials that it has. A new one gets numbers that no trial of the study
has: what was looked at for one winner does not come again for another. All of it follows from the
space and the ledger.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from study.ledger.ledger import ARM, Half, Trial
from study.space.space import Space

_NUMBERS = 2**32


def seeds_of_winner(
    space: Space,
    trials: Iterable[Trial],
    *,
    stratum: Any,
    parameters: dict[str, Any],
    judged_on: Half,
    count: int,
) -> list[int]:
    """The first ``count`` seeds of a winner: those that it has, then numbers not used so far.

    Args:
        trials: all of the study.
        parameters: of the winner's trainings.
        judged_on: the half of the test split that the winner was not chosen on.
    """
    trials = list(trials)
    own = [
        (trial.look or 0, trial.seed)
        for trial in trials
        if trial.phase == "confirm"
        and trial.arm == ARM
        and (trial.stratum, trial.judged_on) == (stratum, judged_on)
        and trial.parameters == parameters
    ]
    seeds = [seed for _, seed in sorted(own)][:count]
    used = {space.search.seed, *space.control_seeds, *(trial.seed for trial in trials)}
    fresh = (one for one in _numbers(space, stratum, judged_on) if one not in used)
    return seeds + list(itertools.islice(fresh, count - len(seeds)))


def _numbers(space: Space, stratum: Any, judged_on: Half) -> Iterator[int]:
    first = 1 + max(space.search.seed, *space.control_seeds, 0)
    place, strata = space.strata.index(stratum), len(space.strata)
    start, step = (int(judged_on != "report"), 2) if space.cross_fit else (0, 1)
    return ((first + j * strata + place) % _NUMBERS for j in itertools.count(start, step))
