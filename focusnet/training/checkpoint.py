"""Saves a stage's state after epochs, so that a trial resumes when its process has died.

Lightning's own checkpoints resume exactly as well. But Lightning builds them in memory as a whole,
stores the frozen template of an online stage with them, and cannot tell before training whether a
file is intact and belongs to this stage; and the records, the best epoch and the generators would
still be ours to add. All that it would save is a module's and an optimiser's state dict.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from focusnet.errors import DiskFullError
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import replacing
from focusnet.training.epoch_record import EpochRecord

logger = logging.getLogger(__name__)

_FORMAT = 1  # of the file; a file of another format is not used


@dataclass(frozen=True)
class StageState:
    """All that a stage needs to go on after ``epoch`` as if nothing had happened.

    The schedule is a function of the epoch, and only the generators draw random numbers.
    """

    epoch: int  # epochs done
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None  # None before the first epoch
    generators: dict[str, Tensor]  # states by purpose
    best_score: float
    best: dict[str, Tensor] | None  # the state dict of the best epoch, with keep: best
    records: list[EpochRecord]  # of the epochs done
    seconds: float  # that they took
    retries: int = 0  # after a non-finite loss


class Checkpoint:
    """The newest state of one stage, in one file that is replaced as a whole.

    Args:
        folder: where the file is.
        determinants: what determines the stage; a file with others is not used.
        every: saves every so many epochs; 0: never.
    """

    def __init__(self, folder: Path, determinants: Mapping[str, Any], every: int = 1) -> None:
        self.path = folder / CHECKPOINT
        content = json.dumps({"format": _FORMAT, **determinants}, sort_keys=True)
        self._stage = hashlib.sha256(content.encode()).hexdigest()
        self._every = every

    def load(self) -> StageState | None:
        """The state to resume from; None without a file that is intact and of this stage."""
        for part in self.path.parent.glob(f".{self.path.name}.*.part"):
            part.unlink(missing_ok=True)  # of a process that was killed while it wrote
        if not self.path.is_file():
            return None
        try:
            content = self._read()
        except Exception as error:  # a damaged file can make its readers raise anything
            logger.warning("%s is damaged and not used: %s", self.path.name, error)
            return None
        if content.pop("stage") != self._stage:
            logger.warning("%s is of other settings and not used", self.path.name)
            return None
        records = [EpochRecord.from_flat(record) for record in json.loads(content["records"])]
        return StageState(**content | {"records": records})

    def save(self, state: StageState) -> None:
        """Replace the file, if a save is due after this epoch.

        A full disk costs the checkpoint, not the trial.
        """
        if not self._every or state.epoch % self._every:
            return
        # Records as JSON: a safe load accepts nothing but tensors and plain values.
        records = json.dumps([record.flat() for record in state.records])
        content = vars(state) | {"stage": self._stage, "records": records}
        try:
            with replacing(self.path) as part:
                torch.save(content, part)
        except (DiskFullError, OSError, RuntimeError) as error:
            name = self.path.name
            logger.warning("%s of epoch %d cannot be written: %s", name, state.epoch, error)

    def remove(self) -> None:
        """Delete the file, so that the stage begins anew."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        # torch does not verify the checksums that it writes into the archive.
        with zipfile.ZipFile(self.path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        return torch.load(self.path, map_location="cpu", weights_only=True)


class Checkpoints:
    """Opens the checkpoints of a trial's stages.

    Args:
        every: see ``Checkpoint``.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self.seconds_before = 0.0  # that the resumed stages took in earlier processes

    def open(
        self, stage: str, folder: Path, determinants: Mapping[str, Any]
    ) -> tuple[Checkpoint, StageState | None]:
        """A stage's checkpoint, and the state in it, if there is one to resume from."""
        checkpoint = Checkpoint(folder, determinants, self._every)
        state = checkpoint.load()
        if state is not None:
            self.seconds_before += state.seconds
            logger.info("%s: resumes after epoch %d", stage, state.epoch)
        return checkpoint, state
