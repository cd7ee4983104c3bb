"""What Ray runs: one trial in a worker, with records that say how it went.

Errors of the trial itself are caught and recorded, because Tune would try them again: they would
fail again. A worker that dies says nothing; Tune starts its trial anew, which then goes on from
its checkpoint and reports what it had not yet reported. Nothing is replayed: the scheduler knows
a trial by its own name, and hears what earlier runs reported from the ledger.
"""

import gc
import importlib
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.trainable import wrap_function

from focusnet.errors import FocusNetError, ReportNotDelivered
from focusnet.system.atomic import write_text
from focusnet.system.full_disk import disk_full
from study.errors import Superseded, Unreachable
from study.ledger.ledger import read_trial, record_end, record_start
from study.space.space import with_values

DISK_FULL = "disk_full"  # what a trial reports that could not write
# How long a trial that waits for a template takes to notice that it is to end.
_NOTICE_SECONDS = 2.0


class RunTrial(Protocol):
    """What ``focusnet.pipeline.run_trial`` is to a study."""

    def __call__(
        self,
        config: Mapping[str, Any],
        out_dir: Path,
        report: Callable[[dict[str, Any]], None],
        **options: Any,
    ) -> Any: ...


class RemoteRunner(Protocol):
    """Runs a trial on a node that shares an address with the others, and no folder."""

    def run(
        self,
        trial: str,
        settings: Mapping[str, Any],
        report: Callable[[dict[str, Any]], None],
        run_trial: RunTrial | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """As ``conduct_trial``, for the trial of this name."""

    def wait_until_idle(self) -> None:
        """Give a trial that Tune has told to stop the time to upload its last state."""


def build_trainable(
    trials_folder: Path,
    trial: Mapping[str, Any],
    *,
    title: str | None,
    gpu: float = 0.0,
    remote: "RemoteRunner | None" = None,
    run_trial: RunTrial | None = None,
) -> type:
    """The class that Ray Tune makes its actors of.

    Args:
        trials_folder: the ledger's folder of trials, which every node must see.
        trial: the settings that all trials share.
        title: the actors' name in Ray's dashboard; None for the name of the actor's first trial.
        gpu: what each has of a GPU; 1 or more: GPUs of its own.
        remote: runs a trial whose results are at an address, if they are in no shared folder.
        run_trial: instead of FocusNet's own; for tests.
    """
    shared = dict(trial)
    options = {"gpu_share": min(gpu, 1.0)} if gpu else {}

    def run(config: dict[str, Any]) -> None:
        own = {path: value for path, value in config.items() if path not in ("trial", "phase")}
        settings = with_values(shared, own)  # arm, seed and parameters
        if remote is not None:
            remote.run(config["trial"], settings, tune.report, run_trial, options)
        else:
            folder = trials_folder / config["trial"]
            report = _decided(folder, tune.report)
            conduct_trial(folder, settings, report, run_trial, options=options)

    class StudyTrial(wrap_function(run, name="trial")):  # type: ignore[misc]
        def __repr__(self) -> str:
            return title or str(self.config.get("trial", "trial"))

        def cleanup(self) -> None:
            super().cleanup()
            if remote is not None:
                remote.wait_until_idle()

    return StudyTrial


def conduct_trial(
    folder: Path,
    settings: Mapping[str, Any],
    report: Callable[[dict[str, Any]], None],
    run_trial: RunTrial | None = None,
    *,
    began: Callable[[], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Run the trial whose records are in ``folder``, and record how it ends.

    What Ray raises in ``report`` to stop a trial passes through, and so does a kill: both leave
    the trial unended. So does a full disk, which is no fault of the trial's: it is reported.
    ``began`` is called when the start is on record; ``run_trial`` gets ``options`` beside the rest.
    """
    if read_trial(folder).status == "finished":
        return  # its worker died between the results and its last words
    try:
        _run_and_record(folder, settings, report, run_trial, began, options or {})
    except Exception as error:
        full = disk_full(error, folder)
        if full is None:
            raise
        report({DISK_FULL: str(full)})
    finally:
        # A trainer and what it trains refer to each other. Among a worker's million objects Python
        # looks for such rings too seldom: each trial would leave its network and its map of the
        # audio to the next one.
        gc.collect()


def _run_and_record(
    folder: Path,
    settings: Mapping[str, Any],
    report: Callable[[dict[str, Any]], None],
    run_trial: RunTrial | None,
    began: Callable[[], None] | None,
    options: Mapping[str, Any],
) -> None:
    record_start(folder)
    if began is not None:
        began()
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        if run_trial is None:
            # Imported here, so that a fault in it is recorded like any other.
            run = importlib.import_module("focusnet.pipeline").run_trial
            run_trial = partial(run, while_waiting=_telling(report))
        run_trial(settings, folder, report, **options)
    except (Unreachable, Superseded):
        raise  # no fault of the trial: Tune tries it again
    except Exception as error:
        if disk_full(error, folder):
            raise
        write_text(folder / "error.txt", traceback.format_exc())
        record_end(folder, "failed", describe_error(error))
    else:
        record_end(folder, "finished")


def _decided(
    folder: Path, report: Callable[[dict[str, Any]], None]
) -> Callable[[dict[str, Any]], None]:
    """``report``, which tells whether the scheduler stops the trial or the study ends.

    A study that ends does not look at what its trials report last; a scheduler's decision is on
    record before Tune carries it out.
    """

    def tell(record: dict[str, Any]) -> None:
        try:
            report(record)
        except SystemExit:
            if read_trial(folder).status != "stopped":
                raise ReportNotDelivered from None
            raise

    return tell


def _telling(report: Callable[[dict[str, Any]], None]) -> Callable[[str], None]:
    """What a trial calls while it waits: tells Tune so, which can end it at a report only."""
    last = time.monotonic()

    def while_waiting(at: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _NOTICE_SECONDS:
            last = time.monotonic()
            report({"at": at})

    return while_waiting


def describe_error(error: Exception) -> str:
    """The message of a user's error; of any other, its type too."""
    if isinstance(error, FocusNetError):
        return "; ".join(error.problems)
    return f"{type(error).__name__}: {error}"
