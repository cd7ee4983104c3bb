"""A stage's state after an epoch, from which a trial goes on when its process has died.

Lightning's own checkpoints resume exactly as well. But Lightning builds them in memory as a whole,
stores the frozen template of an online stage with them, and cannot say before training whether a
file is sound and of this stage; and the records, the best epoch and the generators would be ours
to add. What is left for it would be a module's and an optimiser's state dict.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focusnet.errors import DiskFullError
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import replacing

_FORMAT = 1  # of the file; one of another format is not trusted


@dataclass(frozen=True)
class StageState:
    """All that a stage needs to go on after ``epoch`` as if nothing had happened.

    The schedule is a function of the epoch, and no random number is drawn but from the generators.
    """

    epoch: int  # epochs done
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None  # None before the first epoch
    generators: dict[str, Tensor]  # states by purpose
    best_score: float
    best: dict[str, Tensor] | None  # the state dict of the best epoch, where that is kept
    records: list[dict[str, Any]]  # of the epochs done
    seconds: float  # that they took
    retries: int = 0  # after a loss that was not finite


class Checkpoint:
    """The newest state of one stage, in one file that is replaced whole.

    Args:
        folder: where the file lies.
        determinants: what determines the stage; a file of any other is not trusted.
        say: gets a line when a file is not used or cannot be written.
        every: epochs from one state to the next; 0 for none.
    """

    def __init__(
        self,
        folder: Path,
        determinants: Mapping[str, Any],
        say: Callable[[str], None],
        every: int = 1,
    ) -> None:
        self.path = folder / CHECKPOINT
        content = json.dumps({"format": _FORMAT, **determinants}, sort_keys=True)
        self._stage = hashlib.sha256(content.encode()).hexdigest()
        self._say = say
        self._every = every

    def load(self) -> StageState | None:
        """The state to go on from; None without a file that is sound and of this stage."""
        for part in self.path.parent.glob(f".{self.path.name}.*.part"):
            part.unlink(missing_ok=True)  # of a process that was killed while it wrote
        if not self.path.is_file():
            return None
        try:
            content = self._read()
        except Exception as error:  # a damaged file can make its readers raise anything
            self._say(f"{self.path.name} is damaged and not used: {error}")
            return None
        if content.pop("stage") != self._stage:
            self._say(f"{self.path.name} is of other settings and not used")
            return None
        return StageState(**content | {"records": json.loads(content["records"])})

    def save(self, state: StageState) -> None:
        """Replace the file, if it is this epoch's turn.

        A disk that is full costs the checkpoint, not the trial.
        """
        if not self._every or state.epoch % self._every:
            return
        # Records as JSON: tensors and plain numbers are all that a safe load lets through.
        content = vars(state) | {"stage": self._stage, "records": json.dumps(state.records)}
        try:
            with replacing(self.path) as part:
                torch.save(content, part)
        except (DiskFullError, OSError, RuntimeError) as error:
            self._say(f"{self.path.name} of epoch {state.epoch} cannot be written: {error}")

    def remove(self) -> None:
        """Forget the stage."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        # torch does not verify the checksums that it writes into the archive.
        with zipfile.ZipFile(self.path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        return torch.load(self.path, map_location="cpu", weights_only=True)
