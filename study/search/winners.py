"""Picks the winner of each stratum's search, by the rules of ``focusnet.winner``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from focusnet.winner import is_candidate, position_of_best
from study.ledger.ledger import ARM, ENDED, Half, Trial
from study.ledger.trial_id import trial_id
from study.space.space import Space


@dataclass(frozen=True)
class Winner:
    """The settings that a stratum's search has found best.

    Attributes:
        stratum: whose search it won.
        parameters: all searched parameters, the stratifying one included.
        half: of the test split, on which it was chosen.
        name: of the search's trial with these parameters, whether or not it exists.
        trial: that trial, if the search has finished it; a winner need not have been trained.
        estimate: the metric of the search on ``half``, as it was observed or is estimated.
    """

    stratum: Any
    parameters: dict[str, Any]
    half: Half
    name: str
    trial: Trial | None
    estimate: float


def on_half(metric: str, half: Half) -> str:
    """The metric of a search, which is on ``select``, on either half of the test split."""
    return metric.replace("/select/", f"/{half}/")


def ended_searches(space: Space, trials: Iterable[Trial]) -> set[Any]:
    """The strata in which all trials of the search have ended."""
    left = dict.fromkeys(space.strata, space.trials_per_stratum)
    for trial in trials:
        if trial.searched and trial.status in ENDED and trial.stratum in left:
            left[trial.stratum] -= 1
    return {stratum for stratum, count in left.items() if count <= 0}


def winners(space: Space, trials: Iterable[Trial], half: Half = "select") -> dict[Any, Winner]:
    """The winner of each stratum whose search has ended and found one."""
    trials = sorted(trials, key=lambda trial: (trial.index, trial.id))  # as in the ledger
    ended = ended_searches(space, trials)
    metric = on_half(space.search.metric, half)
    best = best_trials(trials, metric)
    return {
        stratum: Winner(
            stratum,
            best[stratum].parameters,
            half,
            best[stratum].id,
            best[stratum],
            best[stratum].result["metrics"][metric],
        )
        for stratum in space.strata
        if stratum in ended and stratum in best
    }


def winner_name(space: Space, parameters: dict[str, Any]) -> str:
    """The name of the search's trial with these ``parameters``."""
    return trial_id(ARM, parameters, space.search.seed)


def best_trials(trials: Iterable[Trial], metric: str) -> dict[Any, Trial]:
    """The best trial that each stratum's search has finished so far."""
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
