"""Stores templates: each is trained once for its key and shared by all trials that need it.

A template is a folder that appears under its key (see ``focusnet.trial.template_key``) when it is
complete. One process builds it while others wait for its lock, which the system releases when its
holder dies. ``focusnet.store`` names the folders.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import Tensor

from focusnet.store import ABOUT, CHECKPOINT, USES, building_folder, locked, record_use
from focusnet.system.atomic import flush_to_disk, write_json
from focusnet.training.epoch_record import EpochRecord
from focusnet.trial.logits import write_frame


class TemplateExchange(Protocol):
    """Exchanges templates between machines that share no folder."""

    def fetch(self, key: str, folder: Path) -> bool:
        """Download the whole template of ``key`` to ``folder``; False if there is none."""

    def building(self, key: str, folder: Path) -> AbstractContextManager[None]:
        """Exchange the ``CHECKPOINT`` in ``folder`` while a template is trained there."""

    def publish(self, key: str, folder: Path) -> bool:
        """Upload ``folder`` as the template of ``key``; False if there is one already."""


@dataclass(frozen=True)
class Template:
    """The folder of a trained template: weights, logits on training and test clips, epochs."""

    folder: Path
    key: str

    def logits(self) -> pd.DataFrame:
        """Logits by clip name: ``filename``, ``split`` (train, select, report), ``logit/...``."""
        return pd.read_parquet(self.folder / "logits.parquet")

    def weights(self) -> dict[str, Tensor]:
        """The state dict of its PaSST."""
        return load_file(self.folder / "weights.safetensors")

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
        return float(json.loads((self.folder / "template.json").read_text())["seconds"])


def write_template(
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None,
    logits: pd.DataFrame,
    epochs: list[EpochRecord],
    determinants: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write a template to ``folder``; without weights if only its logits are needed."""
    if weights is not None:
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / "weights.safetensors")
    write_frame(folder / "logits.parquet", logits)
    write_json(folder / "epochs.json", [record.flat() for record in epochs])
    write_json(folder / "template.json", {"seconds": seconds, "determinants": dict(determinants)})


def get_or_build(
    store: Path,
    key: str,
    build: Callable[[Path], None],
    *,
    user: Path | None = None,
    about: Mapping[str, Any] | None = None,
    wait: bool = True,
    while_waiting: Callable[[float], None] | None = None,
    exchange: TemplateExchange | None = None,
) -> Template:
    """The template of ``key``, from the store or built by this call.

    ``build`` fills a folder beside the template's, which is then renamed to it. While another
    process builds the same template this call waits. If that process dies, or its ``build`` raises,
    the next builder finds its ``CHECKPOINT`` in the folder, unless ``build`` has removed it.

    Args:
        user: results folder of the trial that takes the template; recorded in the store.
        about: what a person wants to know of the template.
        while_waiting: called again and again during the wait, with the seconds waited so far; what
            it raises ends the wait.
        exchange: searched before a template is built, and told of it after.

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
        # Not earlier, so that no kill loses both the template and what it could be made from.
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return Template(folder, key)


def _build(
    store: Path,
    key: str,
    build: Callable[[Path], None],
    user: Path | None,
    about: Mapping[str, Any],
    exchange: TemplateExchange | None,
) -> None:
    """Build the template of ``key``, whose lock this process holds."""
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
