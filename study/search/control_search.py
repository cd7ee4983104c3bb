"""Searches of control arms: as many trials as FocusNet's search has, over settings of their own.

Where controls have FocusNet's settings, FocusNet is the only arm that was tuned, which favours it.
An arm with a search of its own is confirmed with the best settings of that, by the rule and on the
half of the test split that chose FocusNet's. The settings tried are decided in advance; a trial is
trained with the seed and the template of the search.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from study.ledger.ledger import ARM, ENDED, Half, Trial
from study.ledger.trial_id import trial_id
from study.search.configurations import next_configuration
from study.search.past_trial import PastTrial
from study.search.winners import winners
from study.space.space import Space

# Settings by arm, stratum, and the half of the test split that they were chosen on.
Tuned = Mapping[tuple[str, Any, Half], dict[str, Any]]


def tuning_trials(space: Space, stratum: Any) -> list[Trial]:
    """The trials of all searches of control arms in ``stratum``."""
    return [
        Trial(
            id=trial_id(arm, parameters, space.search.seed, tuning=True),
            arm=arm,
            stratum=stratum,
            index=index,
            seed=space.search.seed,
            parameters=dict(parameters),
            phase="controls",
            tuning=True,
        )
        for arm in space.control_searches
        for index, parameters in enumerate(_configurations(_request(space, arm), stratum))
    ]


def tuned(space: Space, trials: Iterable[Trial], strata: Collection[Any]) -> Tuned:
    """The best settings of each arm and stratum whose search is decided.

    ``strata``: those in which control arms are searched at all.
    """
    if not space.control_searches or not strata:
        return {}
    trials = [trial for trial in trials if trial.tuning]
    halves: tuple[Half, ...] = ("select", "report") if space.cross_fit else ("select",)
    names = {trial.id for stratum in strata for trial in tuning_trials(space, stratum)}
    found = {}
    for arm in space.control_searches:
        own = space.of_control(arm, strata)
        # To the rules for winners, it is a search like FocusNet's.
        tried = [
            replace(trial, arm=ARM, phase="search")
            for trial in trials
            if trial.arm == arm and trial.id in names
        ]
        for half in halves:
            for stratum, winner in winners(own, tried, half).items():
                found[arm, stratum, half] = winner.parameters
    return found


def is_open(trials: Iterable[Trial]) -> bool:
    """Whether a search of a control arm has trials that have not ended."""
    return any(trial.tuning and trial.status not in ENDED for trial in trials)


@dataclass(frozen=True)
class _Request:
    """A control arm's space; ``content`` tells it from others."""

    content: str
    space: Space = field(compare=False)


def _request(space: Space, arm: str) -> _Request:
    own = space.of_control(arm)
    return _Request(json.dumps(own.content(), default=str), own)


@lru_cache(maxsize=256)  # the ledger is read often
def _configurations(request: _Request, stratum: Any) -> tuple[dict[str, Any], ...]:
    tried: list[PastTrial] = []
    for _ in range(request.space.trials_of(stratum)):
        chosen = next_configuration(request.space, stratum, tried)
        tried.append(PastTrial(chosen, "finished"))
    return tuple(trial.parameters for trial in tried)
