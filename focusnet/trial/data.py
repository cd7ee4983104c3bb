"""Prepares what one trial reads: training clips, both halves of the test split, responses."""

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from focusnet.arms import LABELS, uses
from focusnet.augment import read_impulse_responses
from focusnet.config import TrialConfig, cache_folder
from focusnet.dataset.folds import folds_by_location
from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.dataset.splits import split_by_location
from focusnet.dataset.subsets import training_subset
from focusnet.dataset.waveforms import Waveforms, open_waveforms
from focusnet.errors import DataError
from focusnet.micirp import responses_folder
from focusnet.model.weights import weights_path
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
    student: "TrialData | None" = None  # the same clips as a student gets them

    @property
    def splits(self) -> dict[str, Rows]:
        """Rows of 'train', 'select' and 'report'."""
        return {"train": self.train, **self.halves}

    @property
    def split_names(self) -> dict[str, list[str]]:
        """File names of the clips of each split."""
        return {split: self.names(rows) for split, rows in self.splits.items()}

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
    teacher = trial.arm != LABELS
    try:
        if teacher:
            weights_path(trial.model.weights, cache)
    except DataError as error:
        problems += error.problems
    root = Path(trial.data.root).expanduser()
    if trial.data.root == "synthetic":
        root = ensure_dataset(cache, **trial.data.synthetic.model_dump())
    student = trial.student
    probability = trial.augment.dir_probability if teacher else 0.0
    try:
        data = load_trial_data(
            root,
            subset=trial.data.subset,
            subset_seed=trial.data.subset_seed,
            sample_rate=front_end_rate(trial),
            on_bad_clip=trial.data.on_bad_clip,
            dir_folder=_dir_folder(trial, probability, cache),
            cache=cache,
            progress=progress,
        )
        if student is not None:
            data = _with_student(
                data,
                subset=trial.data.subset,
                sample_rate=student.features.sample_rate,
                on_bad_clip=trial.data.on_bad_clip,
                dir_folder=_dir_folder(trial, student.augment.dir_probability, cache),
                cache=cache,
                progress=progress,
            )
    except DataError as error:
        raise DataError([*error.problems, *problems]) from None
    if problems:
        raise DataError(problems)
    training_folds(trial, data)  # for its errors, before anything is trained
    return data


def front_end_rate(trial: TrialConfig) -> int:
    """Sample rate of the audio that all of a trial needs; without a teacher it is the student's."""
    if trial.arm == LABELS and trial.student is not None:
        return trial.student.features.sample_rate
    return trial.features.sample_rate


def _dir_folder(trial: TrialConfig, probability: float, cache: Path) -> Path | None:
    return responses_folder(trial.augment.dir_folder if probability > 0 else None, cache)


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
    responses = read_impulse_responses(dir_folder, sample_rate) if dir_folder else None
    waveforms = open_waveforms(
        dataset,
        sample_rate=sample_rate,
        cache=cache,
        on_bad_clip=on_bad_clip,
        progress=progress and sys.stderr.isatty(),
    )
    data = TrialData(
        dataset=dataset,
        waveforms=waveforms,
        train=train,
        halves=halves,
        responses=responses,
        fingerprint=_fingerprint(dataset, waveforms, responses),
    )
    return _without_skipped(data, waveforms, subset)


def _with_student(
    data: TrialData,
    *,
    subset: int,
    sample_rate: int,
    on_bad_clip: Literal["error", "skip"],
    dir_folder: Path | None,
    cache: Path,
    progress: bool,
) -> TrialData:
    """``data`` with what the student gets of the same clips, at its own rate."""
    waveforms = data.waveforms
    if sample_rate != waveforms.sample_rate:
        waveforms = open_waveforms(
            data.dataset,
            sample_rate=sample_rate,
            cache=cache,
            on_bad_clip=on_bad_clip,
            progress=progress and sys.stderr.isatty(),
        )
    data = _without_skipped(data, waveforms, subset)
    responses = read_impulse_responses(dir_folder, sample_rate) if dir_folder else None
    student = replace(
        data,
        waveforms=waveforms,
        responses=responses,
        fingerprint=_fingerprint(data.dataset, waveforms, responses),
    )
    return replace(data, student=student)


def _fingerprint(dataset: Dataset, waveforms: Waveforms, responses: Tensor | None) -> str:
    digest = hashlib.sha256(f"{dataset.fingerprint} {waveforms.fingerprint}".encode())
    if responses is not None:
        digest.update(responses.numpy().tobytes())
    return digest.hexdigest()


def _without_skipped(data: TrialData, waveforms: Waveforms, subset: int) -> TrialData:
    """``data`` without the clips that ``waveforms`` left out.

    Raises:
        DataError: they were the last ones of a scene in a part of the data.
    """
    if not waveforms.skipped:
        return data
    there = waveforms.position >= 0
    train = data.train[there[data.train]]
    halves = {half: rows[there[rows]] for half, rows in data.halves.items()}
    _check_scenes(data.dataset, {f"the {subset} % subset": train, **halves})
    return replace(data, train=train, halves=halves)


def _check_scenes(dataset: Dataset, parts: dict[str, Rows]) -> None:
    """Raise DataError if a part of the data has no clip of a scene."""
    labels = dataset.clips["label"].to_numpy()
    problems = [
        f"{dataset.root}: after leaving bad clips out, {part} has no clip of '{scene}'"
        for part, rows in parts.items()
        for label, scene in enumerate(dataset.classes)
        if label not in labels[rows]
    ]
    if problems:
        raise DataError(problems)
