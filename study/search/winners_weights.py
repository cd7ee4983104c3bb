"""Deletes the weights of every trial that has ended and whose weights nobody will want."""

from collections.abc import Callable, Collection, Iterable

from focusnet.store import CHECKPOINT, WEIGHTS
from focusnet.winner import POSTERIOR_MEAN
from study.ledger.ledger import ARM, ENDED, Ledger, Trial
from study.search.winners import Winner, best_trials, rule_of, winners
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
    """Names of the trials that hold or may come to hold the weights of a winner.

    Once a winner is known, that is its trial; of a winner that the search has not trained, its
    first training with a fresh seed. Until then it is each stratum's best trial so far, or, where
    trials are not judged alone, each that has finished; and every repeated training of an earlier
    winner, which may win again.
    """
    trials = list(trials)
    decided = winners(space, trials)
    for winner in decided.values():
        if winner.trial is not None:
            yield winner.trial.id
        else:
            yield from (trial.id for trial in first_confirmation(winner, trials))
    best = best_trials(trials, space.search.metric)
    for stratum in space.strata:
        if stratum in decided:
            continue
        if stratum in best:
            yield best[stratum].id
        for trial in trials:
            may_win = trial.phase == "confirm" or rule_of(space) == POSTERIOR_MEAN
            if trial.stratum == stratum and trial.arm == ARM and may_win:
                yield trial.id


def first_confirmation(winner: Winner, trials: Iterable[Trial]) -> list[Trial]:
    """The winner's first finished training with a fresh seed; empty if there is none yet.

    Of trials in the order of the ledger.
    """
    repeated = (
        trial
        for trial in trials
        if trial.phase == "confirm"
        and trial.arm == ARM
        and trial.parameters == winner.parameters
        and trial.status == "finished"
    )
    return list(repeated)[:1]
