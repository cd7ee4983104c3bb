"""Estimates how much disk a study needs, and checks that it is free, before the first trial.

Everything follows from tables and settings, without torch, so that a plan costs nothing.
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
from focusnet.network_sizes import parameter_count
from focusnet.system.units import size_text
from focusnet.winner import BEST_OBSERVED
from study.ledger.ledger import Ledger, Trial
from study.plan.data_size import decoded_bytes, largest_data
from study.search.winners import rule_of
from study.space.space import Space

# In a Parquet file of logits, a row's names of clip, device and location.
_BYTES_OF_NAMES = 20
# Epochs, records and logs of a trial.
_BYTES_OF_RECORDS = 1_000_000
# Weights of a student within the limits, in fp32, and what stands beside them.
_STUDENT_BYTES = 400_000
# A checkpoint is replaced by writing the new one beside it.
_COPIES = 2


@dataclass(frozen=True)
class Need:
    """Bytes that a folder must have room for."""

    folder: Path
    parts: dict[str, int]  # by what they are for

    @property
    def total(self) -> int:
        return sum(self.parts.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{what} {size_text(n)}" for what, n in self.parts.items() if n)
        return f"{size_text(self.total)} ({parts})" if parts else size_text(0)


def needs(space: Space, ledger: Ledger, slots: int) -> list[Need]:
    """What the rest of the study needs in its results folder and in its cache.

    Upper bounds: searched settings count with their largest values, and each stratum's winner may
    change until the end.

    Args:
        slots: trials that run at a time.
    """
    base = space.base
    total = space.trials_in_all
    trials = ledger.trials()
    # Weights of the winners, and of trials that have just finished and are not winners.
    weights = _weights(space)
    members = sum(map(space.seeds_of, space.strata)) if space.confirmed_weights else 0
    # By posterior_mean a stratum keeps its best trial, and a training of a winner that is another.
    of_winners = 1 if rule_of(space) == BEST_OBSERVED else 2
    kept = of_winners * len(space.strata) + slots + members
    checkpoint = _COPIES * _checkpoint(base) * weights if _saves(space) else 0
    data = largest_data(space)
    row = 4 * data.scenes + _BYTES_OF_NAMES
    results = {
        "weights of winners": kept * weights,
        "checkpoints": slots * checkpoint,
        "predictions": total * 2 * data.test * row,
        "records": total * _BYTES_OF_RECORDS,
    }
    folder = cache_folder(base.data.cache)
    cache = decoded_bytes(space, folder, begun=ledger.exists())
    if base.template.reuse:
        folds = space.folds_at_most()
        left = max(0, space.templates_at_most() - _stored(folder / "templates", trials))
        each = weights + (data.train + data.test) * row
        cache["templates"] = left * each
        cache["logits of folds"] = folds * data.train * row  # their weights are not kept
        cache["checkpoints of templates"] = min(slots, left + folds) * checkpoint
        if space.has_student:  # of teachers the logits only
            teachers = sum(map(space.teachers_of, space.strata))
            students = sum(map(space.students_of, space.strata))
            cache["logits of teachers"] = teachers * (data.train + data.test) * row
            cache["students"] = students * (data.test * row + _STUDENT_BYTES)
            results["students"] = total * _STUDENT_BYTES
    else:
        results["templates of winners"] = kept * weights
    if base.model.weights == "audioset" and not list(folder.glob("weights/*.pt")):
        cache["AudioSet weights"] = weights
    results = _less(results, _size_of(ledger.folder, ("trials", "predictions")))
    return [Need(ledger.folder, results), Need(folder, cache)]


def check_disk(wanted: list[Need]) -> None:
    """Refuse to start a study that will not fit.

    Raises:
        ConfigError: for each file system with too little room, what is needed and what is free.
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
                f"{folders}: the study needs {size_text(total)}, {size_text(bytes_free)} are free"
            )
            problems += [f"  {need.folder}: {need}" for need in together if need.total]
    if problems:
        advice = (
            "Free some space, or choose other folders: --results DIR, --set trial.data.cache=DIR. "
            "These are upper bounds; --ignore-disk starts the study regardless"
        )
        raise ConfigError([*problems, advice])


def free(folder: Path) -> int:
    """Bytes free on the file system of ``folder``, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def fullest(space: Space, results: Path) -> Path:
    """Of the folders that a study writes to, Ray's included, the one with the least free space."""
    ray = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    return min((results, cache_folder(space.base.data.cache), ray), key=free)


def parameters(model: ModelConfig, n_mels: int, n_classes: int) -> int:
    """Number of parameters of a PaSST."""
    return parameter_count(model.size, model.stride, model.max_frames, n_mels, n_classes)


def _weights(space: Space) -> int:
    """Bytes of the largest model's weights."""
    paths = ("model.size", "model.stride", "model.max_frames", "features.n_mels")
    searched = {p: space.domains[p].extremes() for p in paths if p in space.domains}
    most = 0
    for values in itertools.product(*searched.values()):
        trial = space.trial_config(dict(zip(searched, values, strict=True)))
        count = parameters(trial.model, trial.features.n_mels, trial.model.n_classes or 10)
        most = max(most, 4 * count)
    return most


def _checkpoint(trial: TrialConfig) -> int:
    """Copies of the weights in a checkpoint: current, Adam's two moments, the best so far."""
    return 4 if trial.template.keep == "best" else 3


def _saves(space: Space) -> bool:
    """Whether any trial writes checkpoints."""
    domain = space.domains.get("compute.checkpoint_epochs")
    return any(domain.extremes() if domain else (space.base.compute.checkpoint_epochs,))


def _stored(store: Path, trials: list[Trial]) -> int:
    """How many of the study's templates are in the store already."""
    keys = {trial.result.get("template_key") for trial in trials if trial.result}
    return sum((store / str(key)).is_dir() for key in keys)


def _size_of(folder: Path, names: tuple[str, ...]) -> int:
    """Bytes of the files below ``names`` in ``folder``, which a running study may change."""
    total = 0
    for name in names:
        for path in (folder / name).rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
    return total


def _less(parts: dict[str, int], written: int) -> dict[str, int]:
    """``parts`` less ``written`` bytes, which are subtracted from one part after the other."""
    rest = {}
    for what, count in parts.items():
        taken = min(count, written)
        written -= taken
        rest[what] = count - taken
    return rest


def slots_here(space: Space) -> int:
    """How many trials this machine can run at a time, as far as that is known without Ray."""
    resources = space.resources
    fit = int((os.cpu_count() or 1) / resources.cpu)
    if resources.gpu > 0:
        gpus = Path("/proc/driver/nvidia/gpus")
        count = len(list(gpus.iterdir())) if gpus.is_dir() else 1
        fit = min(fit, int(count / resources.gpu))
    return max(1, min(fit, resources.max_concurrent or fit))


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest folder above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
