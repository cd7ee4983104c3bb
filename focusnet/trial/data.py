"""Prepares what one trial reads: training clips, both halves of the test split, responses."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from focusnet.arms import uses
from focusnet.augment import read_impulse_responses
from focusnet.config import TrialConfig, cache_folder
from focusnet.dataset.folds import folds_by_location
from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.dataset.splits import split_by_location
from focusnet.dataset.subsets import training_subset
from focusnet.dataset.waveforms import Waveforms, open_waveforms
from focusnet.errors import DataError
from focusnet.model.passt import weights_path
from focusnet.synthetic.generate import ensure_dataset
from focusnet.training.batches import ClipBatches
from focusnet.training.gpu_clips import GpuClipCache

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TrialData:
    """The part of a data set that a trial's settings select; rows are those of ``meta.csv``."""

    dataset: Dataset
    waveforms: Waveforms
    train: Rows
    halves: dict[str, Rows]  # 'select' and 'report'
    responses: Tensor | None  # (R, taps) for DIR
    fingerprint: str  # of the audio, labels and responses that can influence a result

    @property
    def splits(self) -> dict[str, Rows]:
        """Rows of 'train', 'select' and 'report'."""
        return {"train": self.train, **self.halves}

    def labels(self, rows: Rows) -> NDArray[np.int64]:
        """Class indices of clips."""
        return self.dataset.clips["label"].to_numpy()[rows]

    def names(self, rows: Rows) -> list[str]:
        """File names of clips, as in ``meta.csv``."""
        return list(self.dataset.clips["filename"].to_numpy()[rows])

    def devices(self, rows: Rows) -> NDArray[np.object_]:
        """Recording devices of clips."""
        return self.dataset.clips["device"].to_numpy(dtype=object)[rows]

    def batches(
        self,
        rows: Rows,
        batch_size: int,
        generator: Generator | None = None,
        template_logits: NDArray[np.float32] | None = None,
        *,
        gpu_cache: GpuClipCache | None = None,
    ) -> ClipBatches:
        """Batches of clips, shuffled if there is a generator; for the rest see ``ClipBatches``."""
        return ClipBatches(
            self.waveforms.samples,
            self.waveforms.scale,
            self.waveforms.position[rows],
            self.labels(rows),
            batch_size=batch_size,
            generator=generator,
            eligible_for_dir=self.devices(rows) == "a",
            template_logits=template_logits,
            gpu_cache=gpu_cache,
        )


def prepare_data(trial: TrialConfig, progress: bool = True) -> TrialData:
    """Make, download, read and decode all that a trial needs, its initial weights included.

    Safe to call from several processes at once.

    Raises:
        DataError: all problems of the data set, the audio, impulse responses and weights.
    """
    cache = cache_folder(trial.data.cache)
    problems: list[str] = []
    try:
        weights_path(trial.model.weights, cache)
    except DataError as error:
        problems += error.problems
    root = Path(trial.data.root).expanduser()
    if trial.data.root == "synthetic":
        root = ensure_dataset(cache, **trial.data.synthetic.model_dump())
    folder = trial.augment.dir_folder if trial.augment.dir_probability > 0 else None
    try:
        data = load_trial_data(
            root,
            subset=trial.data.subset,
            subset_seed=trial.data.subset_seed,
            sample_rate=trial.features.sample_rate,
            on_bad_clip=trial.data.on_bad_clip,
            dir_folder=Path(folder).expanduser() if folder else None,
            cache=cache,
            progress=progress,
        )
    except DataError as error:
        raise DataError([*error.problems, *problems]) from None
    if problems:
        raise DataError(problems)
    training_folds(trial, data)  # for its errors, before anything is trained
    return data


def training_folds(trial: TrialConfig, data: TrialData) -> NDArray[np.int64] | None:
    """The fold of each training clip (N,); None if the second stage needs no out-of-fold logits.

    Raises:
        DataError: the clips have too few locations.
    """
    focus = trial.focus
    if focus.template_logits != "cross_fitted" or not uses(trial.arm, "focus.template_logits"):
        return None
    clips = data.dataset.clips.iloc[data.train]
    return folds_by_location(clips["scene"], clips["location"], focus.folds, trial.seed)


def load_trial_data(
    root: Path,
    *,
    subset: int,
    subset_seed: int,
    sample_rate: int,
    on_bad_clip: Literal["error", "skip"],
    dir_folder: Path | None,
    cache: Path,
    progress: bool = True,
) -> TrialData:
    """Read a data set, decode it unless the cache has it, and choose the trial's clips.

    Raises:
        DataError: what is wrong with the data set or the impulse responses, all of it.
    """
    dataset = read_dataset(root)
    halves = split_by_location(dataset)
    train = training_subset(dataset, subset, subset_seed)
    responses = None
    if dir_folder is not None:
        responses = read_impulse_responses(dir_folder, sample_rate)
    waveforms = open_waveforms(
        dataset,
        sample_rate=sample_rate,
        cache=cache,
        on_bad_clip=on_bad_clip,
        progress=progress and sys.stderr.isatty(),
    )
    digest = hashlib.sha256(f"{dataset.fingerprint} {waveforms.fingerprint}".encode())
    if responses is not None:
        digest.update(responses.numpy().tobytes())
    train = train[waveforms.position[train] >= 0]
    halves = {half: rows[waveforms.position[rows] >= 0] for half, rows in halves.items()}
    if waveforms.skipped:
        _check_scenes(dataset, {f"the {subset} % subset": train, **halves})
    return TrialData(
        dataset=dataset,
        waveforms=waveforms,
        train=train,
        halves=halves,
        responses=responses,
        fingerprint=digest.hexdigest(),
    )


def _check_scenes(dataset: Dataset, parts: dict[str, Rows]) -> None:
    """Skipped clips may have been the last ones of their scene in a part of the data."""
    labels = dataset.clips["label"].to_numpy()
    problems = [
        f"{dataset.root}: after leaving bad clips out, {part} has no clip of '{scene}'"
        for part, rows in parts.items()
        for label, scene in enumerate(dataset.classes)
        if label not in labels[rows]
    ]
    if problems:
        raise DataError(problems)
