"""Curves for TensorBoard, which a study can do without: no disk and no file of theirs ends it."""

from contextlib import suppress
from typing import Any

from ray.tune.logger import TBXLoggerCallback
from tensorboardX import event_file_writer
from tensorboardX.event_file_writer import EventsWriter


class _LossyWriter(EventsWriter):
    """Drops what cannot be written; an error would end the thread that a trial's results wait for.

    tensorboardX offers no such choice, hence the place of its own class below is taken.
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
    """Every trial's metrics, over the epochs of their stage."""

    def __init__(self) -> None:
        super().__init__()
        event_file_writer.EventsWriter = _LossyWriter

    def log_trial_start(self, trial: Any) -> None:
        with suppress(OSError):
            super().log_trial_start(trial)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        if "stage" not in result:  # it waits, or has no words left
            return
        with suppress(OSError):
            by_epoch = result | {"training_iteration": result["epoch"]}
            super().log_trial_result(iteration, trial, by_epoch)

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        with suppress(OSError):
            super().log_trial_end(trial, failed)
