"""Ray Tune search algorithm that hands out the study's trials, round-robin over the strata."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune.search import Searcher

from study.ledger.ledger import ARM, Ledger, Phase, Trial
from study.ledger.looks import LookRecord
from study.ledger.search_time import SearchTime
from study.ledger.trial_id import trial_id
from study.search.configurations import next_configuration
from study.search.confirmation import Stage, stage
from study.search.control_search import is_open
from study.search.look import take_look
from study.search.past_trial import past_trial
from study.search.to_come import ToCome, end_if_over, to_come
from study.search.tune_types import NoSnapshot
from study.search.winners import ended_searches
from study.space.space import Space


def _template_in_training(trials: Iterable[Trial]) -> bool:
    """Whether ``trials``, which share a template, have begun and none reports it finished."""
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
    """Hands out trials that were begun and not ended, then new ones, phase by phase.

    New configurations come first, over all strata. Controls and confirmation of a stratum come when
    the searches have ended that decide its winner; with planned looks, when the look before them
    has been taken. The search reads the ledger each time it is asked and keeps no state that a
    crash could lose, so it ignores the results that Tune passes to it.

    ``on_look`` is called with the record of each look, ``on_time_over`` when ``search.hours`` have
    ended the search.
    """

    def __init__(self, space: Space, ledger: Ledger) -> None:
        super().__init__()
        self._space = space
        self._ledger = ledger
        self.on_look: Callable[[LookRecord], None] = lambda record: None
        self.on_time_over: Callable[[], None] = lambda: None
        self._time = None if space.search.hours is None else SearchTime(ledger.folder)
        self._begun = [trial for trial in ledger.trials() if trial.status in ("running", "pending")]

    def remaining(self) -> int:
        """How many trials are still to be handed out, at most."""
        return sum(self.to_come().values())

    def to_come(self) -> Counter[tuple[Any, Phase]]:
        """How many trials of each stratum and phase are still to be handed out, at most."""
        count = Counter((trial.stratum, trial.phase) for trial in self._begun)
        count.update(self._left().counts)
        return count

    def looks_may_end_it(self) -> bool:
        """Whether the confirmation may end before all these trials have been handed out."""
        return self._left().at_most

    def _left(self) -> ToCome:
        return to_come(self._space, self._ledger.trials(), self._ledger.looks())

    def take_looks(self) -> Stage:
        """Take the looks whose trials have ended; returns where the confirmation stands then."""
        while True:
            now = stage(self._space, self._ledger.trials(), self._ledger.looks())
            if now.look is None or not now.look.is_due():
                return now
            record = take_look(self._space, now.look, self._ledger.predictions)
            self._ledger.add_look(record)
            self.on_look(record)

    def check_time(self) -> None:
        """End the search if its time is over."""
        if self._time is None:
            return
        trials = self._ledger.trials()
        begun = self._by_stratum(trials)
        if all(len(own) >= self._space.trials_of(stratum) for stratum, own in begun.items()):
            self._time = None  # nothing is left to begin
        elif end_if_over(self._space, trials, self._time.seconds()):
            self._time.end()
            self._time = None
            self._ledger.begin(self._space.content())
            self.on_time_over()

    def suggest(self, trial_id: str) -> Any:
        self.check_time()
        trial = self._begun.pop(0) if self._begun else self._new_trial()
        if trial is None:
            return None if self._waits() else Searcher.FINISHED
        own = {"trial": trial.id, "phase": trial.phase, "arm": trial.arm, "seed": trial.seed}
        if trial.phase != "search":  # nothing is decided before their end
            own["compute.eval_epochs"] = self._space.longest_stage(trial.parameters)
        if trial.teacher_seeds is not None:
            own["student.teacher_seeds"] = trial.teacher_seeds
        return {**own, **trial.parameters}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass  # the ledger has its records

    def save(self, checkpoint_path: str) -> None:
        pass  # the ledger has its records

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("resume a study with --resume, not with Tune's restore")

    def _waits(self) -> bool:
        """Whether trials that run now decide on others."""
        space, known = self._space, self._ledger.trials()
        if not space.follow_ups:
            return False
        if len(ended_searches(space, known)) < len(space.strata):
            return True
        now = stage(space, known, self._ledger.looks())
        if any(is_open(due) for due in now.due.values()):
            return True
        return space.looks_planned and now.look is not None

    def _new_trial(self) -> Trial | None:
        known = self._ledger.trials()
        trial = self._new_configuration(known) or self._new_follow_up()
        if trial is not None:
            self._ledger.hand_out(trial)
        return trial

    def _new_configuration(self, known: list[Trial]) -> Trial | None:
        space = self._space
        begun = self._by_stratum(known)
        open_strata = [s for s in begun if len(begun[s]) < space.trials_of(s)]
        if not open_strata:
            return None
        # A trial whose template is still being trained by another one would wait and hold its GPU,
        # so its stratum comes last. Then the stratum with the fewest trials so far: trials that
        # need different templates start together.
        shared = space.templates_shared()
        stratum = min(
            open_strata,
            key=lambda s: (shared and _template_in_training(begun[s]), len(begun[s])),
        )
        history = [past_trial(trial, space.search.metrics) for trial in begun[stratum]]
        parameters = next_configuration(space, stratum, history)
        return Trial(
            id=trial_id(ARM, parameters, space.search.seed),
            arm=ARM,
            stratum=stratum,
            index=len(history),
            seed=space.search.seed,
            parameters=parameters,
        )

    def _new_follow_up(self) -> Trial | None:
        """A control or confirmation trial; those whose template is in training come last."""
        due = self.take_looks().due
        known = self._ledger.trials()
        names = {trial.id for trial in known}
        left = [trial for trials in due.values() for trial in trials if trial.id not in names]

        def waits(new: Trial) -> bool:
            return _template_in_training(
                trial for trial in known if (trial.stratum, trial.seed) == (new.stratum, new.seed)
            )

        return min(left, key=lambda trial: (waits(trial), trial.index), default=None)

    def _by_stratum(self, known: list[Trial]) -> dict[Any, list[Trial]]:
        """The search's trials of each stratum, in the order they were handed out."""
        return {
            stratum: [trial for trial in known if trial.searched and trial.stratum == stratum]
            for stratum in self._space.strata
        }
