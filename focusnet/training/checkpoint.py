"""Saves a stage's state after epochs, so that a trial resumes when its process has died.

Lightning's own checkpoints resume exactly as well. But Lightning builds them in memory as a whole,
stores the frozen template of an online stage with them, and cannot tell before training whether a
file is intact and belongs to this stage; and the records, the best epoch and the generators would
still be ours to add. All that it would save is a module's and an optimiser's state dict.
"""

import hashlib
import json
import logging
import threading
import time
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
        seconds: that have passed at least between two saves, and before the first one.
        in_background: copies the state and writes the copy in a thread, while training goes on; by
            default where the network is on a GPU.
        clock: gives seconds.
    """

    def __init__(
        self,
        folder: Path,
        determinants: Mapping[str, Any],
        every: int = 1,
        *,
        seconds: float = 0.0,
        in_background: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = folder / CHECKPOINT
        content = json.dumps({"format": _FORMAT, **determinants}, sort_keys=True)
        self._stage = hashlib.sha256(content.encode()).hexdigest()
        self._every, self._seconds, self._clock = every, seconds, clock
        self._last = clock()
        self._in_background = in_background
        self._copies = _Copies()
        self._writer: threading.Thread | None = None

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
        if not self._is_due(state.epoch):
            return
        self._last = self._clock()
        # Records as JSON: a safe load accepts nothing but tensors and plain values.
        records = json.dumps([record.flat() for record in state.records])
        content = vars(state) | {"stage": self._stage, "records": records}
        in_background = self._in_background
        if in_background is None:
            in_background = any(value.is_cuda for value in state.model.values())
        if not in_background:
            self._write(content)
            return
        copied = self._copies.of(content)
        # A daemon: a process that ends does not wait for it, and leaves the file before it.
        self._writer = threading.Thread(target=self._write, args=(copied,), daemon=True)
        self._writer.start()

    def wait(self) -> None:
        """Wait until a save in the background has ended."""
        if self._writer is not None:
            self._writer.join()

    def remove(self) -> None:
        """Delete the file, so that the stage begins anew."""
        self.wait()
        self.path.unlink(missing_ok=True)

    def _is_due(self, epoch: int) -> bool:
        if not self._every or epoch % self._every:
            return False
        if self._clock() - self._last < self._seconds:
            return False
        return self._writer is None or not self._writer.is_alive()

    def _write(self, content: dict[str, Any]) -> None:
        try:
            with replacing(self.path) as part:
                torch.save(content, part)
        except (DiskFullError, OSError, RuntimeError) as error:
            name = self.path.name
            logger.warning("%s of epoch %d cannot be written: %s", name, content["epoch"], error)

    def _read(self) -> dict[str, Any]:
        # torch does not verify the checksums that it writes into the archive.
        with zipfile.ZipFile(self.path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"wrong checksum of {damaged}")
        return torch.load(self.path, map_location="cpu", weights_only=True)


class _Copies:
    """Copies a state's tensors to memory of the CPU that is used again for the next one.

    Those on a GPU go to pinned memory, which is several times faster.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def of(self, content: dict[str, Any]) -> dict[str, Any]:
        """The same content; when this returns, the original may change."""
        copied: dict[str, Any] = self._copy(content, "")
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # until the copies from the GPU are complete
        return copied

    def _copy(self, value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            kept = self._kept.get(path)
            if kept is None or kept.shape != value.shape or kept.dtype != value.dtype:
                kept = torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda)
                self._kept[path] = kept
            return kept.copy_(value.detach(), non_blocking=True)
        if isinstance(value, Mapping):
            return {key: self._copy(one, f"{path}/{key}") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._copy(one, f"{path}/{i}") for i, one in enumerate(value))
        return value


class Checkpoints:
    """Opens the checkpoints of a trial's stages.

    Args: see ``Checkpoint``.
    """

    def __init__(self, every: int, seconds: float) -> None:
        self._every, self._seconds = every, seconds
        self.seconds_before = 0.0  # that the resumed stages took in earlier processes

    def open(
        self, stage: str, folder: Path, determinants: Mapping[str, Any]
    ) -> tuple[Checkpoint, StageState | None]:
        """A stage's checkpoint, and the state in it, if there is one to resume from."""
        checkpoint = Checkpoint(folder, determinants, self._every, seconds=self._seconds)
        state = checkpoint.load()
        if state is not None:
            self.seconds_before += state.seconds
            logger.info("%s: resumes after epoch %d", stage, state.epoch)
        return checkpoint, state
