"""The best trial of each stratum, and the only weights that a study keeps."""

from collections.abc import Iterable
from typing import Any

from study.ledger import Trial


def winners(trials: Iterable[Trial], metric: str) -> dict[Any, Trial]:
    """The finished trial with the highest ``metric`` in each stratum that has one.

    Of equals the first in the order of ``trials`` wins.
    """
    best: dict[Any, Trial] = {}
    for trial in trials:
        if trial.status != "finished" or metric not in trial.metrics:
            continue
        champion = best.get(trial.stratum)
        if champion is None or trial.metrics[metric] > champion.metrics[metric]:
            best[trial.stratum] = trial
    return best
