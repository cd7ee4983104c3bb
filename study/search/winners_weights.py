"""Deletes the weights of every trial that has ended and whose weights nobody will want."""

from collections.abc import Callable, Collection, Iterable

from focusnet.store import CHECKPOINT, WEIGHTS
from study.ledger.ledger import ARM, ENDED, Ledger, Trial
from study.search.winners import best_trials, winners
from study.space.space import Space


class WinnersWeights:
    """Deletes the weights of every ended trial that is not a winner.

    ``members`` names, given the trials of the ledger, those that keep their weights beside the
    winners, as members of an ensemble.

    What to delete follows from the ledger alone, so that it survives the death of a driver. A
    winner's weights are deleted when a better trial has finished, after that one's were written.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        members: Callable[[list[Trial]], Collection[str]] = lambda trials: (),
    ) -> None:
        self._ledger = ledger
        self._space = space
        self._members = members
        self._done: set[str] = set()  # a trial whose weights are deleted has none to delete later

    def remove_others(self) -> None:
        """Delete what the trials no longer need, by the ledger as it is now."""
        trials = self._ledger.trials()
        kept = set(trials_with_weights(self._space, trials))
        kept.update(self._members(trials))
        for trial in trials:
            if trial.status not in ENDED or trial.id in self._done:
                continue
            # Also half-written files of attempts that were killed.
            patterns = [CHECKPOINT, ".*.part"]
            if trial.id not in kept:
                patterns.append(WEIGHTS)
                self._done.add(trial.id)
            self._ledger.discard(trial.id, patterns)


def trials_with_weights(space: Space, trials: Iterable[Trial]) -> Iterable[str]:
    """Names of the trials that hold the weights of a winner, or may come to hold them.

    Each stratum's best trial keeps its weights. A winner that is another one, or that the search
    has not trained, has those of its first training with a fresh seed: to keep the weights of every
    trial that might be estimated best would fill the disk. While the winner of a stratum is not
    decided, all its trainings with fresh seeds keep theirs, for an earlier winner may win again.
    """
    trials = list(trials)
    best = {trial.id for trial in best_trials(trials, space.search.metric).values()}
    yield from best
    decided = winners(space, trials)
    repeated = [trial for trial in trials if trial.phase == "confirm" and trial.arm == ARM]
    yield from (trial.id for trial in repeated if trial.stratum not in decided)
    for winner in decided.values():
        if winner.name not in best:
            own = [trial for trial in repeated if trial.parameters == winner.parameters]
            # In the order of the ledger.
            yield from [trial.id for trial in own if trial.status == "finished"][:1]
