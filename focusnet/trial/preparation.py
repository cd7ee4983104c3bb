"""Making, fetching and decoding what a trial needs, before anything is trained."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from focusnet.arms import uses
from focusnet.config import TrialConfig, cache_folder
from focusnet.dataset.folds import folds_by_location
from focusnet.errors import DataError
from focusnet.model.passt import weights_path
from focusnet.synthetic.generate import ensure_dataset
from focusnet.trial.data import TrialData, load_trial_data


def prepare_data(trial: TrialConfig, progress: bool = True) -> TrialData:
    """Make, fetch, read and decode what a trial needs, its initial weights included.

    Safe to call from several processes at once.

    Raises:
        DataError: what is wrong with data set, audio, impulse responses and weights, all of it.
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
    training_folds(trial, data)  # what it refuses is said before anything is trained
    return data


def training_folds(trial: TrialConfig, data: TrialData) -> NDArray[np.int64] | None:
    """The fold of each training clip, where the second stage gets out-of-fold logits.

    Raises:
        DataError: the clips have too few locations.
    """
    focus = trial.focus
    if focus.template_logits != "cross_fitted" or not uses(trial.arm, "focus.template_logits"):
        return None
    clips = data.dataset.clips.iloc[data.train]
    return folds_by_location(clips["scene"], clips["location"], focus.folds, trial.seed)
