"""The best trial of each stratum, and the only weights that a study keeps."""

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
        if is_candidate(arm=trial.arm, phase=trial.phase, status=trial.status, value=value):
            candidates.setdefault(trial.stratum, []).append((trial, value))
    return {
        stratum: own[position_of_best(value for _, value in own)][0]
        for stratum, own in candidates.items()
    }


class WinnersWeights:
    """Takes the weights of every ended trial but the winners off the disk.

    ``members`` says which trials keep theirs beside the winners, now that the ledger holds these
    trials: the members of an ensemble.

    What to remove follows from the ledger alone, so that a study whose driver died goes on with
    it. A winner's weights go when a better trial is finished, whose weights were written before.
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
        self._done: set[str] = set()  # who has lost once has lost for good

    def remove_others(self) -> None:
        """Bring the trials' folders up to date with the ledger."""
        trials = self._ledger.trials()
        best = {trial.id for trial in winners(trials, self._metric).values()}
        best.update(self._members(trials))
        for trial in trials:
            if trial.status not in ENDED or trial.id in self._done:
                continue
            # Half-written files, too, of attempts that were killed.
            patterns = [CHECKPOINT, ".*.part"]
            if trial.id not in best:
                patterns.append(WEIGHTS)
                self._done.add(trial.id)
            self._ledger.discard(trial.id, patterns)
