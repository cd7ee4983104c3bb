"""How much disk a study will need, and whether it is there: told before the first trial.

All of it is worked out from tables and settings, without torch, so that a plan costs nothing.
"""

import itertools
import os
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from focusnet.config import ModelConfig, TrialConfig, cache_folder
from focusnet.errors import ConfigError
from study.ledger.ledger import Ledger, Trial
from study.plan.data_size import decoded_bytes, largest_data
from study.space.space import Space

# Embedding and depth of each size, as in focusnet.model, which takes seconds to import.
_SHAPES = {"passt_s": (768, 12, 10), "mini": (96, 3, 16), "tiny": (64, 2, 16)}  # and own stride
_PATCH = 16
# A row of logits in a Parquet file, beside its numbers: names of clip, device and location.
_BYTES_OF_NAMES = 20
# Curves, records and logs of a trial.
_BYTES_OF_RECORDS = 1_000_000
# While a checkpoint replaces the one before, both are there.
_COPIES = 2


@dataclass(frozen=True)
class Need:
    """Bytes that a folder must have room for."""

    folder: Path
    parts: dict[str, int]  # what for

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{what} {size(n)}" for what, n in self.parts.items() if n)
        return f"{size(self.total)} ({parts})" if parts else size(0)


def needs(space: Space, ledger: Ledger, slots: int) -> list[Need]:
    """What the rest of the study needs in its results folder and in its cache.

    Bounds from above: searched settings count with their largest values, and each stratum's
    winner may change to the last.

    Args:
        slots: trials side by side.
    """
    example = space.example()
    total = space.trials_in_all
    trials = ledger.trials()
    # The winners', and those of trials that have just finished and lose against them.
    weights = _weights(space)
    members = len(space.confirm_seeds) * len(space.strata) if space.confirmed_weights else 0
    kept = len(space.strata) + slots + members
    checkpoint = _COPIES * _checkpoint(example) * weights if _saves(space) else 0
    data = largest_data(space)
    row = 4 * data.scenes + _BYTES_OF_NAMES
    results = {
        "weights of winners": kept * weights,
        "checkpoints": slots * checkpoint,
        "predictions": total * 2 * data.test * row,
        "records": total * _BYTES_OF_RECORDS,
    }
    folder = cache_folder(example.data.cache)
    cache = decoded_bytes(space, folder, begun=ledger.exists())
    if example.template.reuse:
        folds = space.folds_at_most()
        left = max(0, space.templates_at_most() - _stored(folder / "templates", trials))
        each = weights + (data.train + data.test) * row
        cache["templates"] = left * each
        cache["logits of folds"] = folds * data.train * row  # their weights are not kept
        cache["checkpoints of templates"] = min(slots, left + folds) * checkpoint
    else:
        results["templates of winners"] = kept * weights
    if example.model.weights == "audioset" and not list(folder.glob("weights/*.pt")):
        cache["AudioSet weights"] = weights
    results = _less(results, _size_of(ledger.folder, ("trials", "predictions")))
    return [Need(ledger.folder, results), Need(folder, cache)]


def check_disk(wanted: list[Need]) -> None:
    """Refuse to begin what will not fit.

    Raises:
        ConfigError: each file system that has too little room, what is needed and what is free.
    """
    by_device: dict[int, list[Need]] = defaultdict(list)
    for need in wanted:
        by_device[os.stat(_existing(need.folder)).st_dev].append(need)
    problems = []
    for together in by_device.values():
        bytes_free = free(together[0].folder)
        total = sum(need.total for need in together)
        if total > bytes_free:
            folders = " and ".join(str(need.folder) for need in together if need.total)
            problems.append(
                f"{folders}: the study needs {size(total)} there, {size(bytes_free)} are free"
            )
            problems += [f"  {need.folder}: {need}" for need in together if need.total]
    if problems:
        advice = (
            "Make room, or choose other folders: --results DIR, --set trial.data.cache=DIR. "
            "These are upper bounds; --ignore-disk starts all the same"
        )
        raise ConfigError([*problems, advice])


def free(folder: Path) -> int:
    """Bytes free where ``folder`` is or will be."""
    return shutil.disk_usage(_existing(folder)).free


def fullest(space: Space, results: Path) -> Path:
    """Of the folders that a study writes to, Ray's own included, the one with the least room."""
    ray = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    return min((results, cache_folder(space.example().data.cache), ray), key=free)


def size(count: int) -> str:
    """Bytes as a person says them."""
    if count >= 1e8:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else "under 1 MB"


def parameters(model: ModelConfig, n_mels: int, n_classes: int) -> int:
    """Number of parameters of a PaSST."""
    width, depth, own_stride = _SHAPES[model.size]
    stride = model.stride or own_stride
    patches = width * (_PATCH * _PATCH + 1)
    # Rows and columns of the position embedding; two tokens with a position each.
    positions = width * (n_mels // stride + model.max_frames // stride + 4)
    blocks = depth * (12 * width * width + 13 * width)
    heads = 4 * width + 2 * n_classes * (width + 1)  # two norms, two linear layers
    return patches + positions + blocks + heads


def _weights(space: Space) -> int:
    """Bytes of the largest model's weights."""
    paths = ("model.size", "model.stride", "model.max_frames", "features.n_mels")
    searched = {p: space.domains[p].extremes() for p in paths if p in space.domains}
    most = 0
    for values in itertools.product(*searched.values()):
        chosen = {**space.first_values(), **dict(zip(searched, values, strict=True))}
        trial = TrialConfig.model_validate(space.trial_settings(chosen))
        count = parameters(trial.model, trial.features.n_mels, trial.model.n_classes or 10)
        most = max(most, 4 * count)
    return most


def _checkpoint(trial: TrialConfig) -> int:
    """Copies of the weights in a checkpoint: themselves, Adam's two moments, the best so far."""
    return 4 if trial.template.keep == "best" else 3


def _saves(space: Space) -> bool:
    """Whether there are checkpoints at all."""
    domain = space.domains.get("compute.checkpoint_epochs")
    return any(domain.extremes() if domain else (space.example().compute.checkpoint_epochs,))


def _stored(store: Path, trials: list[Trial]) -> int:
    """How many of the study's templates are in the store already."""
    keys = {trial.result.get("template_key") for trial in trials if trial.result}
    return sum((store / str(key)).is_dir() for key in keys)


def _size_of(folder: Path, names: tuple[str, ...]) -> int:
    """Bytes of the files below ``names`` in ``folder``; the study may be changing them."""
    total = 0
    for name in names:
        for path in (folder / name).rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
    return total


def _less(parts: dict[str, int], there: int) -> dict[str, int]:
    """``parts`` without ``there`` bytes, taken from one after the other."""
    rest = {}
    for what, count in parts.items():
        taken = min(count, there)
        there -= taken
        rest[what] = count - taken
    return rest


def slots_here(space: Space) -> int:
    """Trials side by side on this machine, as far as that can be known without Ray."""
    resources = space.resources
    fit = int((os.cpu_count() or 1) / resources.cpu)
    if resources.gpu > 0:
        gpus = Path("/proc/driver/nvidia/gpus")
        count = len(list(gpus.iterdir())) if gpus.is_dir() else 1
        fit = min(fit, int(count / resources.gpu))
    return max(1, min(fit, resources.max_concurrent or fit))


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
