"""Types of what Ray Tune hands to a study, and a base of what the study hands to Tune."""

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypedDict


class TuneTrial(Protocol):
    """What a study uses of Ray Tune's trial object."""

    # "trial" (its name in the ledger), "phase", "arm", "seed", and the trial's parameters under
    # their dotted paths.
    config: Mapping[str, Any]


class FailedTuneTrial(TuneTrial, Protocol):
    """A trial that Tune has given up."""

    error_file: str  # where Ray has written why


class Report(TypedDict, total=False):
    """What a trial reports to Tune, one of three kinds, and what Tune adds to it."""

    # After an epoch, beside the metrics (such as "focus/select/macro_accuracy"):
    stage: str
    epoch: int
    epochs: int
    seconds: float  # since the stage began
    gpu_memory: int  # bytes that the trial's process has reserved at most, where it uses a GPU
    # While the trial waits for a template that another one trains: for what.
    at: str
    # The disk was full: the message.
    disk_full: str
    # Added by Tune: where the trial runs.
    hostname: str
    pid: int


class NoSnapshot:
    """Mixin for what Tune is given: pickled, it is an empty shell; copied, it is itself.

    Tune pickles its search algorithm, scheduler and callbacks every few seconds, so that it could
    restore them. A study resumes from its ledger and never restores them, and they hold what cannot
    be pickled (locks, open files).
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
