"""Lists the trials that follow a stratum's search: controls of its winner, and confirmation.

Controls are other arms with the winner's parameters. Confirmation retrains the winner and its
controls with fresh seeds. Both follow from the space and the winner alone; no other state is kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from focusnet.arms import uses
from study.ledger.ledger import ARM, Phase, Trial
from study.ledger.trial_id import trial_id
from study.search.winners import Winner, winners
from study.space.space import Space


def follow_ups(space: Space, winner: Winner) -> list[Trial]:
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


def all_follow_ups(space: Space, trials: Iterable[Trial]) -> dict[Any, list[Trial]]:
    """Controls and confirmation of each stratum whose search has ended and has a winner."""
    return {s: follow_ups(space, winner) for s, winner in winners(space, trials).items()}


def ensemble_members(space: Space, trials: Iterable[Trial]) -> set[str]:
    """Names of the retrained winners, if they keep their weights."""
    if not space.confirmed_weights:
        return set()
    return {
        trial.id
        for due in all_follow_ups(space, trials).values()
        for trial in due
        if trial.phase == "confirm" and trial.arm == ARM
    }


def winner_of(space: Space, trials: Iterable[Trial]) -> Mapping[str, str]:
    """The name of the current winner, for each of its controls and confirmation trials.

    Trials that follow a former winner stay in the ledger and are not included; nor is any while the
    search of its stratum goes on.
    """
    return {
        follow_up.id: winner.name
        for winner in winners(space, trials).values()
        for follow_up in follow_ups(space, winner)
    }
