"""The trials that follow a stratum's search: controls of its winner, and confirmation of both.

They are a function of the space and the winner alone, so that nothing about them is remembered
but the trials themselves.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from focusnet.arms import uses
from study.ledger.ledger import ARM, ENDED, Phase, Trial
from study.ledger.trial_id import trial_id
from study.search.winners import winners
from study.space.space import Space


def followers(space: Space, winner: Trial) -> list[Trial]:
    """What follows the search that ``winner`` has won, in the order in which it should run.

    Controls have the winner's parameters, as far as their arm uses them. With the search's own
    seed they share its template, with any other seed all arms share a new one.
    """
    found: list[Trial] = []

    def add(phase: Phase, arm: str, seed: int) -> None:
        parameters = {
            path: value
            for path, value in winner.parameters.items()
            if path == space.search.stratify or uses(arm, path)
        }
        found.append(
            Trial(
                id=trial_id(arm, parameters, seed, show_seed=True),
                arm=arm,
                stratum=winner.stratum,
                index=space.trials_per_stratum + len(found),
                seed=seed,
                parameters=parameters,
                phase=phase,
            )
        )

    for seed in space.control_seeds:
        for arm in space.control_arms:
            add("controls", arm, seed)
    for seed in space.confirm_seeds:
        for arm in (ARM, *space.control_arms):
            add("confirm", arm, seed)
    return found


def searches_ended(space: Space, trials: Iterable[Trial]) -> set[Any]:
    """The strata whose every trial of the search has ended."""
    left = dict.fromkeys(space.strata, space.trials_per_stratum)
    for trial in trials:
        if trial.searched and trial.status in ENDED and trial.stratum in left:
            left[trial.stratum] -= 1
    return {stratum for stratum, count in left.items() if count <= 0}


def all_followers(space: Space, trials: Iterable[Trial]) -> dict[Any, list[Trial]]:
    """By stratum, what follows the searches that have ended and have a winner."""
    trials = list(trials)
    ended = searches_ended(space, trials)
    best = winners(trials, space.search.metric)
    return {s: followers(space, best[s]) for s in space.strata if s in ended and s in best}


def ensemble_members(space: Space, trials: Iterable[Trial]) -> set[str]:
    """The trials that confirm a winner and keep their weights, by name."""
    if not space.confirmed_weights:
        return set()
    return {
        follower.id
        for winner in winners(trials, space.search.metric).values()
        for follower in followers(space, winner)
        if follower.phase == "confirm" and follower.arm == ARM
    }


def winner_of(space: Space, trials: Iterable[Trial]) -> Mapping[str, str]:
    """For each trial that follows a search, the winner it belongs to now, both by name.

    A former winner's trials stay on record and are not in it.
    """
    trials = list(trials)
    return {
        follower.id: winner.id
        for winner in winners(trials, space.search.metric).values()
        for follower in followers(space, winner)
    }
