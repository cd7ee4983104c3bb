"""Picks the winner of each stratum's search, and deletes the weights of all other trials."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from focusnet.store import CHECKPOINT, WEIGHTS
from focusnet.winner import is_candidate, position_of_best
from study.ledger.ledger import ENDED, Ledger, Trial


def winners(trials: Iterable[Trial], metric: str) -> dict[Any, Trial]:
    """The winner of each stratum that has one, by the rule of ``focusnet.winner``."""
    candidates: dict[Any, list[tuple[Trial, float]]] = {}
    for trial in trials:
        value = trial.result.get("metrics", {}).get(metric)
        facts = {"arm": trial.arm, "phase": trial.phase, "status": trial.status}
        if value is not None and is_candidate(**facts, value=value):
            candidates.setdefault(trial.stratum, []).append((trial, value))
    return {
        stratum: own[position_of_best(value for _, value in own)][0]
        for stratum, own in candidates.items()
    }


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
        metric: str,
        members: Callable[[list[Trial]], Collection[str]] = lambda trials: (),
    ) -> None:
        self._ledger = ledger
        self._metric = metric
        self._members = members
        self._done: set[str] = set()  # a trial that is not a winner does not become one later

    def remove_others(self) -> None:
        """Delete what the trials no longer need, by the ledger as it is now."""
        trials = self._ledger.trials()
        best = {trial.id for trial in winners(trials, self._metric).values()}
        best.update(self._members(trials))
        for trial in trials:
            if trial.status not in ENDED or trial.id in self._done:
                continue
            # Also half-written files of attempts that were killed.
            patterns = [CHECKPOINT, ".*.part"]
            if trial.id not in best:
                patterns.append(WEIGHTS)
                self._done.add(trial.id)
            self._ledger.discard(trial.id, patterns)
