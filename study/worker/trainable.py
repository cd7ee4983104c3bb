"""The Ray Tune trainable: runs one trial in a worker and records how it ends.

An error of the trial itself is caught and recorded, because Tune would retry the trial and it would
fail again. If the worker dies, Tune starts the trial anew: it resumes from its checkpoint and
reports only what it had not reported. The scheduler gets earlier reports from the ledger.
"""

import gc
import importlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from ray import tune
from ray.tune.trainable import wrap_function

from focusnet.errors import FocusNetError, GpuMemoryError, ReportNotDelivered
from focusnet.system.atomic import write_text
from focusnet.system.full_disk import disk_full
from focusnet.system.logs import log_to_terminal
from study.errors import Superseded, Unreachable
from study.ledger.ledger import read_trial, record_end, record_start
from study.space.space import with_values

logger = logging.getLogger(__name__)

# Tune can stop a trial only when it reports: how often one that waits for a template does so.
_WAITING_REPORT_SECONDS = 2.0


class RunTrial(Protocol):
    """The part of ``focusnet.pipeline.run_trial`` that a study uses."""

    def __call__(
        self,
        config: Mapping[str, Any],
        out_dir: Path,
        report: Callable[[dict[str, Any]], None],
        **options: Any,
    ) -> Any: ...


class RemoteRunner(Protocol):
    """Runs a trial on a node that shares no folder with the others, only a remote address."""

    def run(
        self,
        trial: str,
        settings: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        run_trial: RunTrial | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Run the trial of this name as ``conduct_trial`` does."""

    def wait_until_idle(self) -> None:
        """Wait a little for a trial that Tune has stopped to upload its last state."""


def build_trainable(
    trials_folder: Path,
    trial: Mapping[str, Any],
    *,
    title: str | None,
    cpu: float = 1.0,
    gpu: float = 0.0,
    retries: int = 0,
    remote: RemoteRunner | None = None,
    run_trial: RunTrial | None = None,
) -> type:
    """The trainable class that Ray Tune makes its actors from.

    Args:
        trials_folder: the ledger's folder of trials, which every node must see.
        trial: the settings that all trials share.
        title: the actors' name in Ray's dashboard; None for the name of the actor's first trial.
        cpu: number of CPUs for each trial.
        gpu: number of GPUs for each trial, or the fraction of one.
        retries: how often Tune starts a trial anew that did not record its end.
        remote: runs a trial whose results go to a remote address; None if they go to a folder.
        run_trial: replaces FocusNet's own; for tests.
    """
    shared = dict(trial)
    on_full_gpu = retries if 0 < gpu < 1 else 0
    options = {"gpu_share": min(gpu, 1.0)} if gpu else {}

    def run(config: dict[str, Any]) -> None:
        own = {path: value for path, value in config.items() if path not in ("trial", "phase")}
        settings = with_values(shared, own)  # arm, seed and parameters
        with log_to_terminal(stream=sys.stdout):  # Ray's dashboard shows it as the worker's log
            logger.info("trial %s", config["trial"])
            if remote is not None:
                remote.run(config["trial"], settings, _report, run_trial, options)
                return
            folder = trials_folder / config["trial"]
            report = _checking_delivery(folder, _report)
            conduct_trial(
                folder, settings, report, run_trial, options=options, on_full_gpu=on_full_gpu
            )

    class FocusNetTrial(wrap_function(run, name="trial")):  # type: ignore[misc]
        def __repr__(self) -> str:
            return title or str(self.config.get("trial", "trial"))

        # tune.with_resources would wrap the class in one of its own, whose name people would see.
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
            return tune.PlacementGroupFactory([{"CPU": cpu, "GPU": gpu}])

        def cleanup(self) -> None:
            super().cleanup()
            if remote is not None:
                remote.wait_until_idle()

    FocusNetTrial.__qualname__ = FocusNetTrial.__name__  # as Ray's dashboard shows it
    return FocusNetTrial


def conduct_trial(
    folder: Path,
    settings: Mapping[str, Any],
    report: Callable[[dict[str, Any]], None],
    run_trial: RunTrial | None = None,
    *,
    began: Callable[[], None] | None = None,
    options: Mapping[str, Any] | None = None,
    on_full_gpu: int = 0,
) -> None:
    """Run the trial whose records are in ``folder``, and record how it ends.

    No end is recorded, so that the trial can be resumed, if Ray stops it (by an exception from
    ``report``) or if the disk is full (which is reported). ``began`` is called once the start is
    recorded; ``run_trial`` gets ``options`` as further keyword arguments. A trial that finds too
    little memory on a GPU that it shares is retried ``on_full_gpu`` times.
    """
    if read_trial(folder).status == "finished":
        return  # its worker died after the results and before the record of its end
    try:
        _run_and_record(folder, settings, report, run_trial, began, options or {}, on_full_gpu)
    except Exception as error:
        full = disk_full(error, folder)
        if full is None:
            raise
        report({"disk_full": str(full)})
    finally:
        # A trainer and its network refer to each other. Python collects such cycles too seldom
        # among a worker's million objects: each trial would leave its network and its mapped audio
        # in memory for the next one.
        gc.collect()


def _run_and_record(
    folder: Path,
    settings: Mapping[str, Any],
    report: Callable[[dict[str, Any]], None],
    run_trial: RunTrial | None,
    began: Callable[[], None] | None,
    options: Mapping[str, Any],
    on_full_gpu: int,
) -> None:
    attempt = record_start(folder)
    if began is not None:
        began()
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        if run_trial is None:
            # Imported here, so that an error of the import is recorded like any other.
            run = _import_pipeline().run_trial
            run_trial = partial(run, while_waiting=_reporting_while_waiting(report))
        run_trial(settings, folder, report, **options)
    except (Unreachable, Superseded):
        raise  # not the trial's fault: Tune retries it
    except Exception as error:
        if disk_full(error, folder):
            raise
        if isinstance(error, GpuMemoryError) and attempt <= on_full_gpu:
            raise
        write_text(folder / "error.txt", traceback.format_exc())
        record_end(folder, "failed", describe_error(error))
    else:
        record_end(folder, "finished")


@cache
def _import_pipeline() -> ModuleType:
    """Import what trials need, once for a process."""
    pipeline = importlib.import_module("focusnet.pipeline")
    # Half a million objects of modules, which live as long as the process: each collection of
    # garbage would look at all of them, which takes 0.3 s.
    gc.collect()
    gc.freeze()
    return pipeline


def _report(record: dict[str, Any]) -> None:
    """Report to Tune, with the GPU memory that this process has reserved."""
    torch = sys.modules.get("torch")  # which a worker need not have imported yet
    if "stage" in record and torch is not None and torch.cuda.is_initialized():
        record = {**record, "gpu_memory": torch.cuda.max_memory_reserved()}
    tune.report(record)


def _checking_delivery(
    folder: Path, report: Callable[[dict[str, Any]], None]
) -> Callable[[dict[str, Any]], None]:
    """``report``, which raises ReportNotDelivered if the study ended before the report was read.

    Tune raises SystemExit both then and when the scheduler stops the trial. The scheduler's
    decision is recorded before; without that record nobody has read the report, which must be sent
    again.
    """

    def send(record: dict[str, Any]) -> None:
        try:
            report(record)
        except SystemExit:
            if read_trial(folder).status != "stopped":
                raise ReportNotDelivered from None
            raise

    return send


def _reporting_while_waiting(report: Callable[[dict[str, Any]], None]) -> Callable[[str], None]:
    """What a trial calls while it waits for a template; it reports so every few seconds."""
    last = time.monotonic()

    def while_waiting(at: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _WAITING_REPORT_SECONDS:
            last = time.monotonic()
            report({"at": at})

    return while_waiting


def describe_error(error: Exception) -> str:
    """The message of an error; with its type, unless it is a user's mistake."""
    if isinstance(error, FocusNetError):
        return "; ".join(error.problems)
    return f"{type(error).__name__}: {error}"
