"""Ray Tune callback: records what happens to trials in the ledger and logs the progress."""

import logging
import shutil
import socket
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial, wraps
from tempfile import TemporaryFile
from typing import Any, TypeVar, cast

from ray.tune.progress_reporter import TrialProgressCallback

from focusnet.errors import DiskFullError
from focusnet.store import CHECKPOINT
from focusnet.system.full_disk import disk_full
from study.console.progress import Progress
from study.ledger.ledger import ENDED, Ledger, record_end
from study.outputs.metrics import StudyMetrics
from study.outputs.optuna_journal import OptunaJournal
from study.outputs.tables import write_tables
from study.search.follow_up import ensemble_members
from study.search.tune_types import FailedTuneTrial, NoSnapshot, Report, TuneTrial
from study.search.winners_weights import WinnersWeights
from study.space.space import Space
from study.tracking.sender import Tracking

logger = logging.getLogger(__name__)

_LATE_SECONDS = 90
Hook = TypeVar("Hook", bound=Callable[..., None])


def _noting_a_full_disk(hook: Hook) -> Hook:
    """Let a full disk end the study in order; Tune would fail the trial or crash."""

    @wraps(hook)
    def noting(self: "StudyCallback", *args: Any, **info: Any) -> None:
        try:
            hook(self, *args, **info)
        except Exception as error:
            full = disk_full(error, self._ledger.folder)
            if full is None:
                raise
            self.disk_full = self.disk_full or full

    return cast(Hook, noting)


class StudyCallback(NoSnapshot, TrialProgressCallback):  # replaces Tune's own, which prints
    """Keeps the study's records up to date while Tune runs.

    Args:
        metrics: exports the study's state.
        tracking: sends trials to experiment trackers.
        on_step: called at each step of Tune's loop.
        stopped: names of the trials that the scheduler has stopped; it adds to them.
        interrupted: says whether the user has interrupted the study.
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: OptunaJournal,
        progress: Progress,
        *,
        space: Space,
        metrics: StudyMetrics,
        tracking: Tracking,
        on_step: Callable[[], None],
        stopped: Collection[str],
        interrupted: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._journal = journal
        self._progress = progress
        self._weights = WinnersWeights(ledger, space, partial(ensemble_members, space))
        self._space = space
        self._metrics = metrics
        self._tracking = tracking
        self._on_step = on_step
        self._stopped = stopped
        self._interrupted = interrupted
        self._running: set[str] = set()
        self.disk_full: DiskFullError | None = None  # a disk was full, here or where a trial runs

    @_noting_a_full_disk
    def on_trial_start(
        self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        name = trial.config["trial"]
        self._running.add(name)
        self._ledger.reported(name)
        self._progress.started(self._ledger.trial(name))
        self.write_tables()

    @_noting_a_full_disk
    def on_trial_result(
        self,
        iteration: int,
        trials: Sequence[TuneTrial],
        trial: TuneTrial,
        result: Report,
        **info: Any,
    ) -> None:
        if "disk_full" in result:
            self.disk_full = self.disk_full or DiskFullError(result["disk_full"])
        name = trial.config["trial"]
        self._progress.reported(name, result)
        self._ledger.reported(name)
        self._metrics.report(self._ledger.trial(name), result)
        self._tracking.changed(name)

    @_noting_a_full_disk
    def on_trial_complete(
        self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        name = trial.config["trial"]
        self._ledger.refresh(name)
        if self._ledger.trial(name).status not in ENDED:
            if name in self._stopped:
                folder = self._ledger.trial_folder(name)
                record_end(folder, "stopped")
                (folder / CHECKPOINT).unlink(missing_ok=True)  # it will not go on
            elif self._interrupted() or self.disk_full:
                logger.debug("left     %s: to be resumed", name)
                return
            elif not self._wait_for_end_record(name):
                self._fail(name, "the trial ended without a result and without an error")
        self._end(name)

    @_noting_a_full_disk
    def on_trial_recover(
        self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        name = trial.config["trial"]
        self._running.discard(name)
        self._metrics.ended(name)
        self._progress.lost_worker(self._ledger.trial(name))

    @_noting_a_full_disk
    def on_trial_error(
        self, iteration: int, trials: Sequence[TuneTrial], trial: FailedTuneTrial, **info: Any
    ) -> None:
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
            self._fail(name, f"{why}; Ray's message is in error.txt")
        self._end(name)

    @_noting_a_full_disk
    def on_step_end(self, iteration: int, trials: Sequence[TuneTrial], **info: Any) -> None:
        self._on_step()
        self._metrics.refresh()
        self._progress.heartbeat()

    def begin(self) -> None:
        """Bring tables and weights up to date with what an earlier run has left."""
        self._weights.remove_others()
        self.write_tables()

    def write_tables(self) -> None:
        write_tables(self._ledger, self._space, self._running)
        self._metrics.count(self._ledger.trials(), self._running)
        self._ledger.publish()

    @_noting_a_full_disk
    def all_stopped(self) -> None:
        """Record that no trial has a worker any more."""
        self._running.clear()
        self.write_tables()

    def _wait_for_end_record(self, name: str) -> bool:
        """Whether the end of a trial on another machine becomes visible here within a while.

        A shared file system may cache for up to a minute that a file is missing. A change of its
        folder makes the file system look again.
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
        self._metrics.ended(name)
        self._tracking.changed(name)
        self._journal.add(trial)
        self._weights.remove_others()
        self.write_tables()
        self._progress.ended(trial)
