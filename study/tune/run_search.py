"""Runs the trials that a study's ledger lacks, with a new Ray Tune ``Tuner`` each time."""

import logging
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from study.console.look_text import describe_look
from study.console.progress import Progress
from study.console.time_left import TimeLeft
from study.ledger.ledger import ENDED, Half, Ledger, Trial
from study.ledger.looks import LookRecord
from study.outputs.metrics import StudyMetrics
from study.outputs.optuna_journal import OptunaJournal
from study.outputs.tensorboard import Curves
from study.plan.work import stage_units, training_clips
from study.search.follow_up import winners_by_half
from study.search.scheduler import StratifiedAsha
from study.search.searcher import LedgerSearch
from study.search.tune_types import NoSnapshot
from study.search.winners import Winner
from study.space.space import Space
from study.tracking.start import start_tracking
from study.tune.callback import StudyCallback
from study.tune.signals import gentle_interrupt
from study.worker.trainable import RemoteRunner, RunTrial, build_trainable

logger = logging.getLogger(__name__)


def run_search(
    space: Space,
    ledger: Ledger,
    *,
    trial: dict[str, object],
    slots: int,
    remote: RemoteRunner | None = None,
    run_trial: RunTrial | None = None,
    show: Callable[[str], None] | None = None,
) -> None:
    """Run every trial that the ledger lacks: the search, then controls and confirmation.

    Args:
        trial: the settings that all trials share, as the workers get them.
        slots: how many trials may run side by side.
        remote: runs a trial whose results go to a remote address; None if they go to a folder.
        run_trial: replaces FocusNet's own; for tests.
        show: shows the study's state on a line of a terminal.

    Raises:
        KeyboardInterrupt: the user has interrupted the study. Its trials can be resumed.
        DiskFullError: a disk was full, here or where a trial ran. Its trials can be resumed.
    """
    known = ledger.trials()
    search = LedgerSearch(space, ledger)
    search.on_look = partial(_log_look, space)
    search.take_looks()  # one whose trials had ended when an earlier run died
    slots = max(1, min(slots, search.remaining()))
    scheduler = _scheduler(space, known)
    with (
        gentle_interrupt() as interrupted,
        closing(start_tracking(space, ledger.folder)) as tracking,
    ):
        progress = _progress(space, known, search, slots, show)
        search.on_look = partial(_show_look, space, search, progress)
        search.on_time_over = partial(_show_time_over, space, search, progress)
        callback = StudyCallback(
            ledger,
            OptunaJournal(ledger.folder, space, known),
            progress,
            space=space,
            metrics=StudyMetrics(space, training_clips(space)),
            tracking=tracking,
            on_step=search.check_time,
            stopped=scheduler.stopped if isinstance(scheduler, StratifiedAsha) else (),
            interrupted=interrupted.is_set,
        )
        callback.begin()
        tracking.catch_up(known)
        if search.remaining():
            tuner = _tuner(
                space,
                ledger,
                build_trainable(
                    ledger.folder / "trials",
                    trial,
                    title=f"{space.name} trials" if _reuse_workers(space) else None,
                    cpu=space.resources.cpu,
                    gpu=space.resources.gpu,
                    retries=space.resources.retries,
                    remote=remote,
                    run_trial=run_trial,
                ),
                search,
                scheduler,
                callback,
                slots=slots,
                stop=lambda: interrupted.is_set() or callback.disk_full is not None,
            )
            try:
                tuner.fit()
            finally:
                callback.all_stopped()
            if not interrupted.is_set() and callback.disk_full is None:
                search.take_looks()
    if callback.disk_full is not None:
        raise callback.disk_full
    if interrupted.is_set():
        raise KeyboardInterrupt


def _tuner(
    space: Space,
    ledger: Ledger,
    trainable: type,
    search: LedgerSearch,
    scheduler: FIFOScheduler,
    callback: StudyCallback,
    *,
    slots: int,
    stop: Callable[[], bool],
) -> tune.Tuner:
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=search.remaining(),
            max_concurrent_trials=slots,
            reuse_actors=_reuse_workers(space),
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: trial.config["trial"],
        ),
        run_config=tune.RunConfig(
            name=datetime.now().strftime("%Y-%m-%d_%H-%M-%S"),
            storage_path=str(ledger.folder / "ray"),
            failure_config=tune.FailureConfig(max_failures=space.resources.retries),
            callbacks=[callback, Curves()],
            stop=_StopAll(stop),
            verbose=0,
        ),
    )


def _reuse_workers(space: Space) -> bool:
    """Whether a worker process runs trial after trial.

    A process takes ten seconds to import what a trial needs, which short trials on CPUs should
    share. A trial on a GPU gets a process of its own: clean GPU memory, and its name in the
    dashboard.
    """
    return space.resources.gpu == 0


def _progress(
    space: Space,
    known: Collection[Trial],
    search: LedgerSearch,
    slots: int,
    show: Callable[[str], None] | None,
) -> Progress:
    ended = [trial for trial in known if trial.status in ENDED]
    return Progress(
        label=space.label,
        ended=ended,
        to_come=search.to_come(),
        time_left=TimeLeft(stage_units(space), slots),
        templates_shared=space.templates_shared(),
        searches=space.trials_of,
        at_most=search.looks_may_end_it(),
        templates={s: 1 + space.fresh_templates_of(s) for s in space.strata},
        winners=partial(_winners, space),
        metric=space.search.metric,
        show=show,
    )


def _winners(space: Space, trials: Collection[Trial]) -> dict[tuple[Any, Half], Winner]:
    return {
        (stratum, half): winner
        for stratum, own in winners_by_half(space, trials).items()
        for half, winner in own.items()
    }


def _log_look(space: Space, record: LookRecord) -> None:
    for line in describe_look(space, record):
        logger.info("%-8s %s", "look", line)


def _show_look(space: Space, search: LedgerSearch, progress: Progress, record: LookRecord) -> None:
    progress.look_taken(
        describe_look(space, record), search.to_come(), at_most=search.looks_may_end_it()
    )


def _show_time_over(space: Space, search: LedgerSearch, progress: Progress) -> None:
    why = f"ends after {space.search.hours:g} hours (search.hours), with "
    why += f"{space.trials_searched} trials; what follows it begins when they have ended"
    progress.search_ended(why, search.to_come())


def _scheduler(space: Space, known: Collection[Trial]) -> FIFOScheduler:
    """The scheduler of the space, told what the ``known`` trials reported in earlier runs."""
    settings = space.search.scheduler
    if settings.name == "none":
        return FIFOScheduler()
    scheduler = StratifiedAsha(
        metric=space.search.metric,
        stratify=space.search.stratify,
        grace_epochs=settings.grace_epochs,
        max_epochs=space.metric_epochs(),
        reduction_factor=settings.reduction_factor,
    )
    for trial in known:
        if trial.searched:
            scheduler.tell(trial.stratum, trial.id, trial.curve(space.search.metric))
    return scheduler


class _StopAll(NoSnapshot, tune.Stopper):
    """Stops the whole search in order once ``stop`` says so."""

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._stop()
