"""The Ray Tune study itself: a new Tuner each time, for what the ledger says is left."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from ray import tune
from ray.tune.schedulers import FIFOScheduler

from study.console.progress import Progress
from study.ledger.ledger import ENDED, Ledger
from study.outputs.optuna_journal import OptunaJournal
from study.outputs.tensorboard import Curves
from study.search.scheduler import StratifiedAsha
from study.search.searcher import LedgerSearch
from study.search.unsaved import Unsaved
from study.space.space import Space
from study.tune.callback import Watcher
from study.worker.trainable import RunTrial, build_trainable

if TYPE_CHECKING:
    from study.worker.trainable import RemoteRunner


def run_search(
    space: Space,
    ledger: Ledger,
    *,
    trial: dict[str, object],
    slots: int,
    interrupted: threading.Event,
    remote: "RemoteRunner | None" = None,
    run_trial: RunTrial | None = None,
) -> None:
    """Run every trial that the ledger lacks; returns early when ``interrupted`` is set.

    Args:
        trial: what all trials share, as the workers get it.
        slots: trials side by side, at most.
        remote: runs a trial whose results are at an address, if they are in no shared folder.
        run_trial: instead of FocusNet's own; for tests.

    Raises:
        DiskFullError: of this process or of a worker. What ran is left to be taken up again.
    """
    known = ledger.trials()
    ended = [one for one in known if one.status in ENDED]
    scheduler = _scheduler(space)
    if isinstance(scheduler, StratifiedAsha):
        for one in known:
            if one.searched:
                scheduler.tell(one.stratum, one.id, one.curve(space.search.metric))
    search = LedgerSearch(space, ledger)
    slots = max(1, min(slots, search.remaining()))
    watcher = Watcher(
        ledger,
        OptunaJournal(ledger.folder, space, known),
        Progress(
            label=space.label,
            total=len(ended) + search.remaining(),
            ended=ended,
            slots=slots,
            templates_shared=space.templates_shared(),
            to_come=search.to_come(),
            searches=dict.fromkeys(space.strata, space.trials_per_stratum),
            seeds=(space.search.seed, *space.fresh_seeds),
            metric=space.search.metric,
        ),
        space=space,
        stopped=scheduler.stopped if isinstance(scheduler, StratifiedAsha) else (),
        interrupted=interrupted.is_set,
    )
    watcher.begin()
    if search.remaining() == 0:
        return
    # A process takes ten seconds to import all that a trial needs, which short trials on CPUs
    # should share. A trial on a GPU gets a process of its own: clean GPU memory, and a name.
    reuse = space.resources.gpu == 0
    trainable = build_trainable(
        ledger.folder / "trials",
        trial,
        title=f"{space.name} trials" if reuse else None,
        gpu=space.resources.gpu,
        remote=remote,
        run_trial=run_trial,
    )
    resources = {"cpu": space.resources.cpu, "gpu": space.resources.gpu}
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=search.remaining(),
            max_concurrent_trials=slots,
            reuse_actors=reuse,
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: trial.config["trial"],
        ),
        run_config=tune.RunConfig(
            name=datetime.now().strftime("%Y-%m-%d_%H-%M-%S"),
            storage_path=str(ledger.folder / "ray"),
            failure_config=tune.FailureConfig(max_failures=space.resources.retries),
            callbacks=[watcher, Curves()],
            stop=_StopWhen(lambda: interrupted.is_set() or watcher.full is not None),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        watcher.all_stopped()
    if watcher.full is not None:
        raise watcher.full


def _scheduler(space: Space) -> FIFOScheduler:
    settings = space.search.scheduler
    if settings.name == "none":
        return FIFOScheduler()
    return StratifiedAsha(
        metric=space.search.metric,
        stratify=space.search.stratify,
        grace_epochs=settings.grace_epochs,
        max_epochs=space.focus_epochs(),
        reduction_factor=settings.reduction_factor,
    )


class _StopWhen(Unsaved, tune.Stopper):
    """Ends the whole search in order once it is to end."""

    def __init__(self, to_end: Callable[[], bool]) -> None:
        self._to_end = to_end

    def __call__(self, trial_id: str, result: dict[str, object]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._to_end()
