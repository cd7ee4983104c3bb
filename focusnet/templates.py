"""The store of templates: one is trained once for each key and shared by all that need it.

The key is a hash of all that determines a template and of nothing else. A template is a folder
that appears under its key when it is complete; a kernel lock, which falls when its holder dies,
makes one process build it while others wait.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor

from focusnet.atomic import new_folder, write_json
from focusnet.predictions import write_frame

# Part of every key: raise it when the same settings would give another template.
RECIPE = 1


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
    weights: Mapping[str, Tensor],
    logits: pd.DataFrame,
    epochs: list[dict[str, Any]],
    determinants: Mapping[str, Any],
    seconds: float,
) -> None:
    """Fill ``folder`` with a template."""
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "weights.safetensors")
    write_frame(folder / "logits.parquet", logits)
    write_json(folder / "epochs.json", epochs)
    write_json(folder / "template.json", {"seconds": seconds, "determinants": dict(determinants)})


def get_or_build(
    store: Path, key: str, build: Callable[[Path], None], on_wait: Callable[[], None] | None = None
) -> tuple[Template, bool]:
    """The template of ``key`` and whether this call built it.

    ``build`` fills a temporary folder. While another process builds the same one this call waits,
    after calling ``on_wait`` once; when that process dies, this one builds.
    """
    folder = store / key
    template = Template(folder, key)
    if folder.is_dir():
        return template, False
    store.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store / f"{key}.lock", poll_interval=0.2)
    with _acquired(lock, on_wait):
        if folder.is_dir():
            return template, False
        with new_folder(folder) as part:
            build(part)
    return template, True


def _acquired(lock: FileLock, on_wait: Callable[[], None] | None) -> Any:
    try:
        return lock.acquire(timeout=0)
    except TimeoutError:
        if on_wait is not None:
            on_wait()
        return lock.acquire()
