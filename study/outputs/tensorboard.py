"""Writes each trial's metrics for TensorBoard; a failure to write them never ends the study."""

from contextlib import suppress
from typing import Any

from ray.tune.logger import TBXLoggerCallback
from tensorboardX import event_file_writer
from tensorboardX.event_file_writer import EventsWriter


class _LossyWriter(EventsWriter):
    """Drops events that cannot be written, such as on a full disk.

    An error would end tensorboardX's writer thread, for which a trial's next result would wait for
    ever. tensorboardX has no option for this, so ``Curves`` replaces its class.
    """

    def write_event(self, event: Any) -> None:
        with suppress(OSError):
            super().write_event(event)

    def flush(self) -> bool:
        with suppress(OSError):
            super().flush()
        return True

    def close(self) -> bool:
        with suppress(OSError):
            super().close()
        return True


class Curves(TBXLoggerCallback):
    """Logs every trial's metrics against the epochs of their stage."""

    def __init__(self) -> None:
        super().__init__()
        event_file_writer.EventsWriter = _LossyWriter

    def log_trial_start(self, trial: Any) -> None:
        with suppress(OSError):
            super().log_trial_start(trial)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        if "stage" not in result:  # a trial that waits, or its last report
            return
        with suppress(OSError):
            by_epoch = result | {"training_iteration": result["epoch"]}
            super().log_trial_result(iteration, trial, by_epoch)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        with suppress(OSError):
            super().log_trial_end(trial, failed)
