"""Lists the trials that follow a stratum's search: controls of its winner, and confirmation.

Controls are other arms with the winner's parameters. Confirmation retrains the winner and its
controls with fresh seeds. Both follow from the space and the winner alone; no other state is kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from focusnet.arms import uses
from study.ledger.ledger import ARM, ENDED, Phase, Trial
from study.ledger.trial_id import trial_id
from study.search.winners import winners
from study.space.space import Space


def follow_ups(space: Space, winner: Trial) -> list[Trial]:
    """Controls and confirmation of a stratum's ``winner``, in the order in which they should run.

    Each arm has those of the winner's parameters that it uses. Trials with the seed of the search
    share the winner's template; with any other seed all arms share a new template.
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
                index=space.trials_of(winner.stratum) + len(found),
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


def ended_searches(space: Space, trials: Iterable[Trial]) -> set[Any]:
    """The strata in which all trials of the search have ended."""
    left = {stratum: space.trials_of(stratum) for stratum in space.strata}
    for trial in trials:
        if trial.searched and trial.status in ENDED and trial.stratum in left:
            left[trial.stratum] -= 1
    return {stratum for stratum, count in left.items() if count <= 0}


def all_follow_ups(space: Space, trials: Iterable[Trial]) -> dict[Any, list[Trial]]:
    """Controls and confirmation of each stratum whose search has ended and has a winner."""
    trials = list(trials)
    ended = ended_searches(space, trials)
    best = winners(trials, space.search.metric)
    return {s: follow_ups(space, best[s]) for s in space.strata if s in ended and s in best}


def ensemble_members(space: Space, trials: Iterable[Trial]) -> set[str]:
    """Names of the retrained winners, if they keep their weights."""
    if not space.confirmed_weights:
        return set()
    return {
        trial.id
        for winner in winners(trials, space.search.metric).values()
        for trial in follow_ups(space, winner)
        if trial.phase == "confirm" and trial.arm == ARM
    }


def winner_of(space: Space, trials: Iterable[Trial]) -> Mapping[str, str]:
    """The name of the current winner, for each of its controls and confirmation trials.

    Trials that follow a former winner stay in the ledger and are not included.
    """
    trials = list(trials)
    return {
        follow_up.id: winner.id
        for winner in winners(trials, space.search.metric).values()
        for follow_up in follow_ups(space, winner)
    }
