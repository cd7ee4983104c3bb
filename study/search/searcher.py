"""The study as Ray Tune's search: who is next, by quota, round robin over the strata."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ray.tune.search import Searcher

from study.ledger.ledger import ARM, Ledger, Trial
from study.ledger.trial_id import trial_id
from study.search.configurations import next_configuration
from study.search.earlier import earlier
from study.search.follow_up import all_followers, searches_ended
from study.search.no_snapshot import NoSnapshot
from study.space.space import Space


def _template_in_the_making(trials: Iterable[Trial]) -> bool:
    """Whether trials that share a template have begun and none has been seen with it finished."""
    trials = list(trials)
    begun = any(trial.status in ("running", "pending") for trial in trials)
    return begun and not any(_has_template(trial) for trial in trials)


def _has_template(trial: Trial) -> bool:
    if trial.status in ("finished", "stopped"):
        return True
    last = trial.epochs[-1] if trial.epochs else {}
    done = last.get("epoch") == last.get("epochs")
    return last.get("stage") == "focus" or (last.get("stage") == "template" and done)


class LedgerSearch(NoSnapshot, Searcher):
    """Hands out first what was begun and not ended, then new trials, phase by phase.

    New configurations come first, over all strata. What follows a stratum's search (controls,
    confirmation) comes when the whole of it has ended, which decides its winner. The search looks
    at the ledger whenever it is asked and holds nothing that a crash could lose, so what Tune
    tells it of results is ignored.
    """

    def __init__(self, space: Space, ledger: Ledger) -> None:
        super().__init__()
        self._space = space
        self._ledger = ledger
        self._begun = [trial for trial in ledger.trials() if trial.status in ("running", "pending")]

    def remaining(self) -> int:
        """How many trials are still to be handed out; without a winner nothing will follow."""
        return sum(self.to_come().values())

    def to_come(self) -> dict[Any, int]:
        """How many trials of each stratum are still to be handed out, at most."""
        space, known = self._space, self._ledger.trials()
        due = all_followers(space, known)
        ended = searches_ended(space, known)
        names = {trial.id for trial in known}
        count = Counter(trial.stratum for trial in self._begun)
        for stratum, trials in self._by_stratum(known).items():
            if stratum in ended:
                after = sum(follower.id not in names for follower in due.get(stratum, ()))
            else:
                after = space.followers_per_stratum
            count[stratum] += max(0, space.trials_per_stratum - len(trials)) + after
        return count

    def suggest(self, trial_id: str) -> Any:
        trial = self._begun.pop(0) if self._begun else self._new_trial()
        if trial is None:
            waits = self._space.followers_per_stratum and len(
                searches_ended(self._space, self._ledger.trials())
            ) < len(self._space.strata)
            return None if waits else Searcher.FINISHED
        own = {"trial": trial.id, "phase": trial.phase, "arm": trial.arm, "seed": trial.seed}
        return {**own, **trial.parameters}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass  # the ledger has it

    def save(self, checkpoint_path: str) -> None:
        pass  # the ledger has it

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a study goes on by --resume, not by Tune's restore")

    def _new_trial(self) -> Trial | None:
        known = self._ledger.trials()
        trial = self._new_configuration(known) or self._next_follower(known)
        if trial is not None:
            self._ledger.hand_out(trial)
        return trial

    def _new_configuration(self, known: list[Trial]) -> Trial | None:
        space = self._space
        of = self._by_stratum(known)
        open_strata = [s for s in of if len(of[s]) < space.trials_per_stratum]
        if not open_strata:
            return None
        # A trial whose template another one still trains would wait and hold its GPU; where
        # nothing else is left it may as well load its data. Then the stratum with the fewest so
        # far: trials that need different templates start together.
        shared = space.templates_shared()
        stratum = min(
            open_strata,
            key=lambda s: (shared and _template_in_the_making(of[s]), len(of[s])),
        )
        history = [earlier(trial, space.search.metrics) for trial in of[stratum]]
        parameters = next_configuration(space, stratum, history)
        return Trial(
            id=trial_id(ARM, parameters, space.search.seed),
            arm=ARM,
            stratum=stratum,
            index=len(history),
            seed=space.search.seed,
            parameters=parameters,
        )

    def _next_follower(self, known: list[Trial]) -> Trial | None:
        """A control, or a trial that confirms: again one whose template nobody is training."""
        names = {trial.id for trial in known}
        left = [
            follower
            for trials in all_followers(self._space, known).values()
            for follower in trials
            if follower.id not in names
        ]

        def waits(follower: Trial) -> bool:
            alike = (follower.stratum, follower.seed)
            return _template_in_the_making(
                trial for trial in known if (trial.stratum, trial.seed) == alike
            )

        return min(left, key=lambda trial: (waits(trial), trial.index), default=None)

    def _by_stratum(self, known: list[Trial]) -> dict[Any, list[Trial]]:
        """The search's trials of each stratum, in the order they were handed out."""
        return {
            stratum: [trial for trial in known if trial.searched and trial.stratum == stratum]
            for stratum in self._space.strata
        }
