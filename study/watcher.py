"""The ear at Ray Tune: what happens to trials goes into the ledger and onto the console."""

import shutil
from collections.abc import Callable, Collection
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from focusnet.store import CHECKPOINT
from study.ledger import ENDED, Ledger, record_end
from study.optuna_journal import OptunaJournal
from study.progress import Progress
from study.space import Space
from study.tables import write_tables
from study.unsaved import Unsaved
from study.winners import WinnersWeights


class Watcher(Unsaved, TrialProgressCallback):  # in the place of Tune's own, which prints
    """Keeps the study's records up to date while Tune runs.

    Args:
        stopped: names of the trials that the scheduler has stopped, as it goes.
        interrupted: whether the user has asked to stop.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: OptunaJournal,
        progress: Progress,
        *,
        space: Space,
        stopped: Collection[str],
        interrupted: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._journal = journal
        self._progress = progress
        self._weights = WinnersWeights(ledger, space.search.metric)
        self._space = space
        self._stopped = stopped
        self._interrupted = interrupted
        self._running: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._running.add(name)
        self._progress.started(self._ledger.trial(name))
        self.write_tables()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._progress.reported(trial.config["trial"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        if self._ledger.trial(name).status not in ENDED:
            if name in self._stopped:
                folder = self._ledger.trial_folder(name)
                record_end(folder, "stopped")
                (folder / CHECKPOINT).unlink(missing_ok=True)  # it will not go on
            elif self._interrupted():
                return
            else:
                self._fail(name, "the trial ended without a result and without an error")
        self._end(name)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._running.discard(name)
        self._progress.lost_worker(self._ledger.trial(name))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        known = self._ledger.trial(name)
        if known.status not in ENDED:
            shutil.copy(trial.error_file, self._ledger.trial_folder(name) / "error.txt")
            if known.attempts:
                times = "once" if known.attempts == 1 else f"{known.attempts} times"
                why = f"its worker process died {times} (killed, out of memory, or its node lost)"
            else:
                why = "no worker could start it"
            self._fail(name, f"{why}; Ray's words are in error.txt")
        self._end(name)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.heartbeat()

    def begin(self) -> None:
        """Bring what an earlier run has left up to date."""
        self._weights.remove_others()
        self.write_tables()

    def write_tables(self) -> None:
        write_tables(self._ledger, self._space, self._running)

    def all_stopped(self) -> None:
        """No trial has a worker any more."""
        self._running.clear()
        self.write_tables()

    def _fail(self, name: str, error: str) -> None:
        record_end(self._ledger.trial_folder(name), "failed", error)

    def _end(self, name: str) -> None:
        self._running.discard(name)
        trial = self._ledger.trial(name)
        self._journal.add(trial)
        self._weights.remove_others()
        self.write_tables()
        self._progress.ended(trial)
