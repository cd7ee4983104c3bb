"""The ear at Ray Tune: what happens to trials goes into the ledger and onto the console."""

import shutil
import socket
import time
from collections.abc import Callable, Collection
from functools import partial, wraps
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

from ray.tune.progress_reporter import TrialProgressCallback

from focusnet.errors import DiskFullError
from focusnet.store import CHECKPOINT
from focusnet.system.full_disk import disk_full
from study.console.progress import Progress
from study.ledger.ledger import ENDED, Ledger, record_end
from study.outputs.optuna_journal import OptunaJournal
from study.outputs.tables import write_tables
from study.search.follow_up import ensemble_members
from study.search.unsaved import Unsaved
from study.search.winners import WinnersWeights
from study.space.space import Space
from study.worker.trainable import DISK_FULL

_LATE_SECONDS = 90
Callback = TypeVar("Callback", bound=Callable[..., None])


def _minding_the_disk(callback: Callback) -> Callback:
    """Let a full disk end the study in order: Tune would make a failed trial or a crash of it."""

    @wraps(callback)
    def minding(self: "Watcher", *given: Any, **info: Any) -> None:
        try:
            callback(self, *given, **info)
        except Exception as error:
            full = disk_full(error, self._ledger.folder)
            if full is None:
                raise
            self.full = self.full or full

    return cast(Callback, minding)


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
        self._weights = WinnersWeights(
            ledger, space.search.metric, partial(ensemble_members, space)
        )
        self._space = space
        self._stopped = stopped
        self._interrupted = interrupted
        self._running: set[str] = set()
        self.full: DiskFullError | None = None  # a disk was full, here or where a trial runs

    @_minding_the_disk
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._running.add(name)
        self._ledger.reported(name)
        self._progress.started(self._ledger.trial(name))
        self.write_tables()

    @_minding_the_disk
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if DISK_FULL in result:
            self.full = self.full or DiskFullError(result[DISK_FULL])
        self._progress.reported(trial.config["trial"], result)
        self._ledger.reported(trial.config["trial"])

    @_minding_the_disk
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._ledger.refresh(name)
        if self._ledger.trial(name).status not in ENDED:
            if name in self._stopped:
                folder = self._ledger.trial_folder(name)
                record_end(folder, "stopped")
                (folder / CHECKPOINT).unlink(missing_ok=True)  # it will not go on
            elif self._interrupted() or self.full:
                return
            elif not self._end_shows_up(name):
                self._fail(name, "the trial ended without a result and without an error")
        self._end(name)

    @_minding_the_disk
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._running.discard(name)
        self._progress.lost_worker(self._ledger.trial(name))

    @_minding_the_disk
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        name = trial.config["trial"]
        self._ledger.refresh(name)
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

    @_minding_the_disk
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._progress.heartbeat()

    def begin(self) -> None:
        """Bring what an earlier run has left up to date."""
        self._weights.remove_others()
        self.write_tables()

    def write_tables(self) -> None:
        write_tables(self._ledger, self._space, self._running)
        self._ledger.publish()

    @_minding_the_disk
    def all_stopped(self) -> None:
        """No trial has a worker any more."""
        self._running.clear()
        self.write_tables()

    def _end_shows_up(self, name: str) -> bool:
        """Whether the last words of a trial on another machine are seen here after a while.

        A shared file system may say for up to a minute that a file is not there which it was asked
        for in vain before; a change of the folder makes it look again.
        """
        if self._ledger.trial(name).host in (None, socket.gethostname()):
            return False
        for _ in range(_LATE_SECONDS):
            with TemporaryFile(dir=self._ledger.trial_folder(name)):
                pass
            if self._ledger.trial(name).status in ENDED:
                return True
            time.sleep(1)
        return False

    def _fail(self, name: str, error: str) -> None:
        record_end(self._ledger.trial_folder(name), "failed", error)

    def _end(self, name: str) -> None:
        self._running.discard(name)
        trial = self._ledger.trial(name)
        self._journal.add(trial)
        self._weights.remove_others()
        self.write_tables()
        self._progress.ended(trial)
