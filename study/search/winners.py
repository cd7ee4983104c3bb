"""The best trial of each stratum, and the only weights that a study keeps."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from focusnet.store import CHECKPOINT
from study.ledger.ledger import ENDED, Ledger, Trial

WEIGHTS = "weights.safetensors"


def winners(trials: Iterable[Trial], metric: str) -> dict[Any, Trial]:
    """The finished trial with the highest ``metric`` in each stratum that has one.

    Controls and trials that confirm a winner never win, however good. Of equals the first in the
    order of ``trials`` wins.
    """
    best: dict[Any, Trial] = {}
    for trial in trials:
        if not trial.searched or trial.status != "finished" or metric not in trial.metrics:
            continue
        champion = best.get(trial.stratum)
        if champion is None or trial.metrics[metric] > champion.metrics[metric]:
            best[trial.stratum] = trial
    return best


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
