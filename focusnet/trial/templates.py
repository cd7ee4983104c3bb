"""The store of templates: one is trained once for each key and shared by all that need it.

The key is a hash of all that determines a template and of nothing else. A template is a folder
that appears under its key when it is complete; a kernel lock, which falls when its holder dies,
makes one process build it while others wait. ``focusnet.store`` knows the folders.
"""

import hashlib
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
from focusnet.trial.logits import write_frame

# Part of every key: raise it when the same settings would give another template.
RECIPE = 1


class Elsewhere(Protocol):
    """Where machines that share no folder find each other's templates."""

    def fetch(self, key: str, folder: Path) -> bool:
        """Make ``folder`` the template of ``key``, whole; False where there is none."""

    def building(self, key: str, folder: Path) -> AbstractContextManager[None]:
        """While it lasts a template is made in ``folder``; its ``CHECKPOINT`` may come first."""

    def publish(self, key: str, folder: Path) -> bool:
        """Let ``folder`` be the template of ``key``; False where another was there before."""


@dataclass(frozen=True)
class Template:
    """A trained template: its weights and its logits on training and test clips."""

    folder: Path
    key: str

    def logits(self) -> pd.DataFrame:
        """Logits by clip name: ``filename``, ``split`` (train, select, report), ``logit/...``."""
        return pd.read_parquet(self.folder / "logits.parquet")

    def weights(self) -> dict[str, Tensor]:
        """The state dict of its PaSST."""
        return load_file(self.folder / "weights.safetensors")

    def epochs(self) -> list[dict[str, Any]]:
        """Its learning curve: what was reported after each epoch."""
        return json.loads((self.folder / "epochs.json").read_text())

    def built_by(self) -> str | None:
        """Folder of the trial that completed it."""
        path = self.folder / ABOUT
        return json.loads(path.read_text()).get("built_by") if path.is_file() else None

    def seconds(self) -> float:
        """How long its training took."""
        return float(json.loads((self.folder / "template.json").read_text())["seconds"])


def template_key(determinants: Mapping[str, Any]) -> str:
    """Hash of what determines a template; independent of the order of its keys."""
    content = json.dumps({"recipe": RECIPE, **determinants}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_template(
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None,
    logits: pd.DataFrame,
    epochs: list[dict[str, Any]],
    determinants: Mapping[str, Any],
    seconds: float,
) -> None:
    """Fill ``folder`` with a template; without weights where only its logits are needed."""
    if weights is not None:
        save_file({k: v.contiguous() for k, v in weights.items()}, folder / "weights.safetensors")
    write_frame(folder / "logits.parquet", logits)
    write_json(folder / "epochs.json", epochs)
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
    elsewhere: Elsewhere | None = None,
) -> Template:
    """The template of ``key``, from the store or built by this call.

    ``build`` fills a folder beside the template's, which becomes it. While another process builds
    the same one this call waits; when that process dies, this one builds, and finds the other's
    ``CHECKPOINT`` in the folder. So does whoever comes after a build that was ended by an
    exception, unless ``build`` has removed it.

    Args:
        user: the results folder of the trial that takes the template; the store remembers it.
        about: what a person wants to know of the template.
        while_waiting: called again and again during the wait, with the seconds waited so far; what
            it raises ends the wait.
        elsewhere: looked into before, and told after a template was made.

    Raises:
        Timeout: another process builds it, and ``wait`` is false.
    """
    folder, part = store / key, building_folder(store, key)
    with locked(store, key, wait=wait, while_waiting=while_waiting):
        if elsewhere is not None and not folder.is_dir() and elsewhere.fetch(key, folder):
            shutil.rmtree(part, ignore_errors=True)
        if not folder.is_dir():
            part.mkdir(exist_ok=True)
            for path in part.iterdir():
                if path.name not in (CHECKPOINT, USES):
                    path.unlink()  # of a builder that was killed
            try:
                if user is not None:
                    record_use(part, user)
                write_json(part / ABOUT, {"built_by": user and str(user), **(about or {})})
                with elsewhere.building(key, part) if elsewhere else nullcontext():
                    build(part)
            except BaseException:
                if not (part / CHECKPOINT).is_file():
                    shutil.rmtree(part, ignore_errors=True)
                raise
            for path in part.iterdir():
                flush_to_disk(path)
            ours = elsewhere is None or elsewhere.publish(key, part)
            if elsewhere is not None and not ours and elsewhere.fetch(key, folder):
                shutil.rmtree(part, ignore_errors=True)  # all take the one that came first
            else:
                part.replace(folder)
            flush_to_disk(store)
        elif elsewhere is not None:
            elsewhere.publish(key, folder)
        if user is not None:
            record_use(folder, user)
        # Only now, so that no kill loses both: the template and what it could be made from.
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return Template(folder, key)
