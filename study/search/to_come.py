"""Counts the trials that a study has still to hand out, at most: looks may end it early."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from study.ledger.ledger import Phase, Trial
from study.ledger.looks import LookRecord
from study.search.confirmation import stage
from study.search.control_search import is_open
from study.search.follow_up import all_follow_ups
from study.search.winners import ended_searches
from study.space.space import Space


class ToCome(NamedTuple):
    """Trials that are still to be handed out.

    Attributes:
        counts: by stratum and phase.
        at_most: whether looks may leave some of them out.
    """

    counts: Counter[tuple[Any, Phase]]
    at_most: bool

    def of_phase(self, phase: Phase) -> int:
        """The number of trials of one phase, in all strata."""
        return sum(count for (_, own), count in self.counts.items() if own == phase)


def to_come(space: Space, known: Sequence[Trial], looks: Sequence[LookRecord]) -> ToCome:
    """What is still to be handed out, given the ledger's trials and looks.

    A search that has ended without a winner has no controls and no confirmation.
    """
    ended = ended_searches(space, known)
    all_ended = len(ended) == len(space.strata)
    now = stage(space, known, looks)
    closed = all_ended and now.look is None
    due = now.due if closed else all_follow_ups(space, known)
    names = {trial.id: trial for trial in known}
    # Of control arms with a search of their own that goes on, no other trials are known yet.
    searching = any(is_open(names.get(one.id, one) for one in own) for own in due.values())
    counts: Counter[tuple[Any, Phase]] = Counter()
    for stratum in space.strata:
        begun = sum(trial.searched and trial.stratum == stratum for trial in known)
        counts[stratum, "search"] = max(0, space.trials_of(stratum) - begun)
        waits = stratum not in ended or (space.search.winner == "posterior_mean" and not all_ended)
        if waits:
            arms = len(space.control_arms)
            counts[stratum, "controls"] = arms * len(space.control_seeds)
            counts[stratum, "controls"] += space.tunings_of(stratum)
            counts[stratum, "confirm"] = (1 + arms) * space.seeds_of(stratum)
        for trial in () if waits else due.get(stratum, ()):
            counts[stratum, trial.phase] += trial.id not in names
        if not waits and searching:
            arms = _undecided_arms(space, due.get(stratum, ()))
            counts[stratum, "controls"] += arms * len(space.control_seeds)
            counts[stratum, "confirm"] += arms * space.seeds_of(stratum)
    return ToCome(counts, space.looks_planned and (searching or not closed))


def end_if_over(space: Space, trials: Iterable[Trial], seconds: float) -> bool:
    """End the search of ``space`` if its hours are over and each stratum has a trial.

    Returns whether it ends, with fewer trials than the space asks for. ``seconds`` is the time of
    the search so far.
    """
    if space.search.hours is None or seconds < 3600 * space.search.hours:
        return False
    begun = Counter(trial.stratum for trial in trials if trial.searched)
    asked = {stratum: space.trials_of(stratum) for stratum in space.strata}
    if not all(begun[s] for s in asked) or all(begun[s] >= n for s, n in asked.items()):
        return False
    space.end_search({stratum: begun[stratum] for stratum in asked})
    return True


def _undecided_arms(space: Space, due: Sequence[Trial]) -> int:
    """How many control arms have a search of their own that has not named their settings."""
    named = {trial.arm for trial in due if not trial.tuning}
    return sum(arm not in named for arm in {trial.arm for trial in due if trial.tuning})
