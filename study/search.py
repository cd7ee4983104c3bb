"""The study's search as Ray Tune sees it: who is next, by quota, round robin over the strata."""

from typing import Any

from ray.tune.search import Searcher

from study.configurations import Earlier, next_configuration
from study.ledger import ARM, Ledger, Trial
from study.space import Space
from study.trial_id import trial_id
from study.unsaved import Unsaved


def earlier(trial: Trial, metric: str) -> Earlier:
    """A trial of the ledger as the search looks at it."""
    return Earlier(
        parameters=trial.parameters,
        state="running" if trial.status == "pending" else trial.status,
        value=trial.metrics.get(metric),
        curve=trial.curve(metric) if trial.status == "stopped" else {},
    )


def _template_in_the_making(trials: list[Trial]) -> bool:
    """Whether a stratum's trials have begun and none has been seen with the finished template."""
    begun = any(trial.status in ("running", "pending") for trial in trials)
    return begun and not any(_has_template(trial) for trial in trials)


def _has_template(trial: Trial) -> bool:
    if trial.status in ("finished", "stopped"):
        return True
    last = trial.epochs[-1] if trial.epochs else {}
    done = last.get("epoch") == last.get("epochs")
    return last.get("stage") == "focus" or (last.get("stage") == "template" and done)


class LedgerSearch(Unsaved, Searcher):
    """Hands out first what was begun and not ended, then new configurations.

    It looks at the ledger whenever it is asked and holds nothing that a crash could lose, so what
    Tune tells it of results is ignored.
    """

    def __init__(self, space: Space, ledger: Ledger) -> None:
        super().__init__()
        self._space = space
        self._ledger = ledger
        self._begun = [trial for trial in ledger.trials() if trial.status in ("running", "pending")]

    def remaining(self) -> int:
        """How many trials are still to be handed out."""
        known = self._by_stratum().values()
        new = sum(max(0, self._space.trials_per_stratum - len(trials)) for trials in known)
        return len(self._begun) + new

    def suggest(self, trial_id: str) -> Any:
        trial = self._begun.pop(0) if self._begun else self._new_trial()
        if trial is None:
            return Searcher.FINISHED
        return {"trial": trial.id, **trial.parameters}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        pass  # the ledger has it

    def save(self, checkpoint_path: str) -> None:
        pass  # the ledger has it

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a study goes on by --resume, not by Tune's restore")

    def _new_trial(self) -> Trial | None:
        space = self._space
        known = self._by_stratum()
        open_strata = [s for s in known if len(known[s]) < space.trials_per_stratum]
        if not open_strata:
            return None
        # A trial whose template another one still trains would wait and hold its GPU; where
        # nothing else is left it may as well load its data. Then the stratum with the fewest so
        # far: trials that need different templates start together.
        shared = space.templates_shared()
        stratum = min(
            open_strata,
            key=lambda s: (shared and _template_in_the_making(known[s]), len(known[s])),
        )
        history = [earlier(trial, space.search.metric) for trial in known[stratum]]
        parameters = next_configuration(space, stratum, history)
        seed = parameters.get("seed", space.search.seed)
        trial = Trial(
            id=trial_id(ARM, parameters, seed),
            arm=ARM,
            stratum=stratum,
            index=len(history),
            seed=seed,
            parameters=parameters,
        )
        self._ledger.hand_out(trial)
        return trial

    def _by_stratum(self) -> dict[Any, list[Trial]]:
        """The search's trials of each stratum, in the order they were handed out."""
        trials = [trial for trial in self._ledger.trials() if trial.arm == ARM]
        return {
            stratum: [trial for trial in trials if trial.stratum == stratum]
            for stratum in self._space.strata
        }
