"""Stores stages that trials share: templates, second stages as teachers, and students.

Each is trained once for its key, a hash of all that determines it. It is a folder that appears
under the key when it is complete. One process builds it while others wait for its lock, which the
system releases when its holder dies. ``focusnet.store`` names the folders.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from focusnet.store import ABOUT, CHECKPOINT, USES, WEIGHTS, building_folder, locked, record_use
from focusnet.system.atomic import flush_to_disk, write_json
from focusnet.training.epoch_record import EpochRecord
from focusnet.trial.logits import write_frame

Kind = Literal["template", "teacher", "student"]


class StageExchange(Protocol):
    """Exchanges stages of one kind between machines that share no folder."""

    def fetch(self, key: str, folder: Path) -> bool:
        """Download the whole stage of ``key`` to ``folder``; False if there is none."""

    def building(self, key: str, folder: Path) -> AbstractContextManager[None]:
        """Exchange the ``CHECKPOINT`` in ``folder`` while a stage is trained there."""

    def publish(self, key: str, folder: Path) -> bool:
        """Upload ``folder`` as the stage of ``key``; False if there is one already."""


@dataclass(frozen=True)
class StoredStage:
    """The folder of a trained stage: logits on training and test clips, epochs, perhaps weights."""

    folder: Path
    key: str
    kind: Kind = "template"

    def logits(self) -> pd.DataFrame:
        """Logits by clip name: ``filename``, ``split`` (train, select, report), ``logit/...``."""
        return pd.read_parquet(self.folder / "logits.parquet")

    def weights(self) -> dict[str, Tensor]:
        """The state dict of its network; teachers keep none."""
        return load_file(self.folder / WEIGHTS)

    def epochs(self) -> list[EpochRecord]:
        """Its learning curve."""
        content = json.loads((self.folder / "epochs.json").read_text())
        return [EpochRecord.from_flat(record) for record in content]

    def built_by(self) -> str | None:
        """Folder of the trial that completed it."""
        path = self.folder / ABOUT
        return json.loads(path.read_text()).get("built_by") if path.is_file() else None

    def seconds(self) -> float:
        """How long its training took."""
        return float(self._record()["seconds"])

    def metrics(self) -> dict[str, float]:
        """Metrics that its logits and epochs do not hold, such as ``focus/warm_classes``."""
        return self._record().get("metrics", {})

    def _record(self) -> dict[str, Any]:
        return json.loads((self.folder / f"{self.kind}.json").read_text())


def write_stage(
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None,
    logits: pd.DataFrame,
    epochs: list[EpochRecord],
    determinants: Mapping[str, Any],
    seconds: float,
    metrics: Mapping[str, float] | None = None,
    kind: Kind = "template",
) -> None:
    """Write a trained stage to ``folder``; without weights if only its logits are needed."""
    if weights is not None:
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / WEIGHTS)
    write_frame(folder / "logits.parquet", logits)
    write_json(folder / "epochs.json", [record.flat() for record in epochs])
    record: dict[str, Any] = {"seconds": seconds, "determinants": dict(determinants)}
    if metrics is not None:
        record["metrics"] = dict(metrics)
    write_json(folder / f"{kind}.json", record)


def get_or_build(
    store: Path,
    key: str,
    build: Callable[[Path], None],
    *,
    user: Path | None = None,
    about: Mapping[str, Any] | None = None,
    wait: bool = True,
    while_waiting: Callable[[float], None] | None = None,
    exchange: StageExchange | None = None,
    kind: Kind = "template",
) -> StoredStage:
    """The stage of ``key``, from the store or built by this call.

    ``build`` fills a folder beside the stage's, which is then renamed to it. While another
    process builds the same stage this call waits. If that process dies, or its ``build`` raises,
    the next builder finds its ``CHECKPOINT`` in the folder, unless ``build`` has removed it.

    Args:
        user: results folder of the trial that takes the stage; recorded in the store.
        about: what a person wants to know of the stage.
        while_waiting: called again and again during the wait, with the seconds waited so far; what
            it raises ends the wait.
        exchange: searched before a stage is built, and told of it after.

    Raises:
        Timeout: another process builds it, and ``wait`` is false.
    """
    folder = store / key
    with locked(store, key, wait=wait, while_waiting=while_waiting):
        if exchange is not None and not folder.is_dir() and exchange.fetch(key, folder):
            shutil.rmtree(building_folder(store, key), ignore_errors=True)
        if not folder.is_dir():
            about = {"built_by": user and str(user), **(about or {})}
            _build(store, key, build, user, about, exchange)
        elif exchange is not None:
            exchange.publish(key, folder)
        if user is not None:
            record_use(folder, user)
        # Not earlier, so that no kill loses both the stage and what it could be made from.
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return StoredStage(folder, key, kind)


def _build(
    store: Path,
    key: str,
    build: Callable[[Path], None],
    user: Path | None,
    about: Mapping[str, Any],
    exchange: StageExchange | None,
) -> None:
    """Build the stage of ``key``, whose lock this process holds."""
    folder, part = store / key, building_folder(store, key)
    part.mkdir(exist_ok=True)
    for path in part.iterdir():
        if path.name not in (CHECKPOINT, USES):
            path.unlink()  # of a builder that was killed
    try:
        if user is not None:
            record_use(part, user)
        write_json(part / ABOUT, about)
        with exchange.building(key, part) if exchange else nullcontext():
            build(part)
    except BaseException:
        if not (part / CHECKPOINT).is_file():
            shutil.rmtree(part, ignore_errors=True)
        raise
    for path in part.iterdir():
        flush_to_disk(path)
    ours = exchange is None or exchange.publish(key, part)
    if exchange is not None and not ours and exchange.fetch(key, folder):
        shutil.rmtree(part, ignore_errors=True)  # all machines take the one that came first
    else:
        part.replace(folder)
    flush_to_disk(store)
