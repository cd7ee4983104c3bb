"""Picks the winner of each stratum's search, by the rules of ``focusnet.winner``."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from focusnet.winner import (
    BEST_OBSERVED,
    NEVER_TRAINED,
    POSTERIOR_MEAN,
    Estimated,
    Rule,
    SearchSpace,
    doubt,
    estimated_best,
    is_candidate,
    position_of_best,
)
from study.ledger.ledger import ARM, ENDED, Trial
from study.ledger.trial_id import trial_id
from study.space.space import Space

Half = Literal["select", "report"]


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
        rule: by which it was chosen; not the study's where too few trials finished.
        doubt: why the choice is nearly luck; None if it is not.
    """

    stratum: Any
    parameters: dict[str, Any]
    half: Half
    name: str
    trial: Trial | None
    estimate: float
    rule: Rule = BEST_OBSERVED
    doubt: str | None = None

    @property
    def described(self) -> str:
        """Its name, and what is special about it."""
        return self.name if self.trial else f"{self.name}, {NEVER_TRAINED}"


def on_half(metric: str, half: Half) -> str:
    """The metric of a search, which is on ``select``, on either half of the test split."""
    return metric.replace("/select/", f"/{half}/")


def ended_searches(space: Space, trials: Iterable[Trial]) -> set[Any]:
    """The strata in which all trials of the search have ended."""
    left = {stratum: space.trials_of(stratum) for stratum in space.strata}
    for trial in trials:
        if trial.searched and trial.status in ENDED and trial.stratum in left:
            left[trial.stratum] -= 1
    return {stratum for stratum, count in left.items() if count <= 0}


def rule_of(space: Space) -> Rule:
    """The rule that the study chooses its winners by."""
    return space.search.winner or BEST_OBSERVED


def winners(space: Space, trials: Iterable[Trial], half: Half = "select") -> dict[Any, Winner]:
    """The winner of each stratum whose search is decided and has found one.

    By ``best_observed`` a search is decided when its trials have ended; by ``posterior_mean``,
    which learns about each stratum from all of them, when those of all strata have.
    """
    searched = [trial for trial in trials if trial.searched]
    searched.sort(key=lambda trial: (trial.index, trial.id))  # as in the ledger
    ended = ended_searches(space, searched)
    metric = on_half(space.search.metric, half)
    if rule_of(space) == POSTERIOR_MEAN:
        if len(ended) < len(space.strata):
            return {}
        estimated = _estimated(space, searched, half)
        if estimated is not None:
            return estimated
    best = best_trials(searched, metric)
    finished = Counter(trial.stratum for trial in searched if trial.status == "finished")
    return {
        stratum: Winner(
            stratum,
            best[stratum].parameters,
            half,
            best[stratum].id,
            best[stratum],
            best[stratum].result["metrics"][metric],
            doubt=doubt(rule_of(space), BEST_OBSERVED, finished[stratum]),
        )
        for stratum in space.strata
        if stratum in ended and stratum in best
    }


def _estimated(space: Space, searched: list[Trial], half: Half) -> dict[Any, Winner] | None:
    """The winners by ``posterior_mean``; None if too few trials have finished."""
    metric = on_half(space.search.metric, half)
    done = [(trial, value) for trial in searched if (value := _value(trial, metric)) is not None]
    found = estimated_best(
        SearchSpace(
            {path: domain.content() for path, domain in space.domains.items()},
            space.search.stratify,
            space.search.seed,
        ),
        [(trial.parameters, value) for trial, value in done],
        [trial.parameters for trial in searched if trial.status == "failed"],
    )
    if found is None:
        return None
    best = {one.stratum: one for one in found}
    return {
        s: _winner(space, best[s], [t for t, _ in done], half) for s in space.strata if s in best
    }


def _winner(space: Space, best: Estimated, done: list[Trial], half: Half) -> Winner:
    parameters = dict(best.parameters)
    same = [trial for trial in done if trial.parameters == parameters]
    return Winner(
        best.stratum,
        parameters,
        half,
        same[0].id if same else trial_id(ARM, parameters, space.search.seed),
        same[0] if same else None,
        best.mean,
        POSTERIOR_MEAN,
        doubt(POSTERIOR_MEAN, POSTERIOR_MEAN, best.finished),
    )


def best_trials(trials: Iterable[Trial], metric: str) -> dict[Any, Trial]:
    """The best trial that each stratum's search has finished so far."""
    candidates: dict[Any, list[tuple[Trial, float]]] = {}
    for trial in trials:
        value = _value(trial, metric)
        if value is not None:
            candidates.setdefault(trial.stratum, []).append((trial, value))
    return {
        stratum: own[position_of_best(value for _, value in own)][0]
        for stratum, own in candidates.items()
    }


def _value(trial: Trial, metric: str) -> float | None:
    """The metric of a trial that can win."""
    value = trial.result.get("metrics", {}).get(metric)
    facts = {"arm": trial.arm, "phase": trial.phase, "status": trial.status}
    return value if is_candidate(**facts, value=value) else None
