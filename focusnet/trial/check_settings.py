"""Checks a trial's settings against its data, before anything is trained."""

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError
from focusnet.model.passt import PATCH, patch_stride


def check_settings(trial: TrialConfig, frames: int, n_classes: int) -> None:
    """Check the settings against clips of ``frames`` frames and ``n_classes`` classes.

    Raises:
        ConfigError: every setting that does not fit.
    """
    model, augment = trial.model, trial.augment
    problems = []
    if model.n_classes not in (None, n_classes):
        problems.append(
            f"model.n_classes: must be {n_classes}, as the data set has, received {model.n_classes}"
        )
    if frames > model.max_frames:
        problems.append(
            f"model.max_frames: must be at least {frames}, the frames of a clip, "
            f"received {model.max_frames}"
        )
    for axis, size, drop in (
        ("freq", trial.features.n_mels, augment.patchout_freq),
        ("time", frames, augment.patchout_time),
    ):
        patches = (size - PATCH) // patch_stride(model) + 1
        if drop >= patches:
            problems.append(
                f"augment.patchout_{axis}: must be less than {patches}, the patches along "
                f"that axis, received {drop}"
            )
    if problems:
        raise ConfigError(problems)
