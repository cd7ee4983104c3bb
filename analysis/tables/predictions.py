"""Reads a trial's predictions as one row per clip, template and FocusNet side by side."""

from pathlib import Path

import pandas as pd

from focusnet.arms import label_of

LOGIT = "logit/"
TEMPLATE, FOCUS = "template", "focus"  # the two trainings of a trial, as the files name them
STUDENT = "student"  # the third one, of trials with a student
STAGES = {TEMPLATE: "template", FOCUS: "FocusNet"}  # their names for people
_CLIP = ["filename", "scene", "device", "location"]


def teacher_label(arm: str) -> str:
    """The name for people of an arm's second stage, or of the template that all arms share."""
    return STAGES[TEMPLATE] if arm == TEMPLATE else label_of(arm)


class PredictionsError(Exception):
    """Predictions that cannot be read or compared; the message says why."""


def read_clips(folder: Path, trial: str, half: str = "report") -> pd.DataFrame:
    """The predictions of a trial of the study in ``folder``, see ``paired_clips``.

    Raises:
        PredictionsError: they are missing or cannot be read; the message says which.
    """
    name = f"predictions/{trial}.parquet"
    try:
        return paired_clips(pd.read_parquet(folder / name), half)
    except FileNotFoundError:
        raise PredictionsError(f"{name} is missing") from None
    except (PredictionsError, OSError, ValueError) as error:
        raise PredictionsError(f"{name} cannot be read: {error}") from error


def paired_clips(predictions: pd.DataFrame, half: str) -> pd.DataFrame:
    """Pair the predictions of a trial's stages on one half of the test split, by clip.

    A trial without one of the stages has no column for it.

    Args:
        predictions: one row for each clip, stage and half, with a logit for each scene.
        half: ``select`` or ``report``.

    Returns:
        ``filename``, ``device``, ``location``, and as categories of all scenes: ``scene`` (the
        true one), and the predicted ones in ``template``, ``focus`` and ``student``.

    Raises:
        PredictionsError: a column is missing, or the stages have different clips.
    """
    lacking = [name for name in ("stage", "half", *_CLIP) if name not in predictions]
    logits = [name for name in predictions.columns if name.startswith(LOGIT)]
    if lacking or not logits:
        raise PredictionsError(f"no column {', '.join(lacking) or LOGIT + '...'}")
    scenes = [name.removeprefix(LOGIT) for name in logits]
    of_half = predictions[predictions["half"] == half]
    clips: pd.DataFrame | None = None
    there = set(predictions["stage"])
    # Teachers are missing where a student was trained alone, and nowhere else.
    stages = [STUDENT, *(one for one in STAGES if one in there)] if STUDENT in there else STAGES
    for stage in stages:
        rows = of_half[of_half["stage"] == stage]
        if rows["filename"].duplicated().any():
            raise PredictionsError(f"{stage} has a clip of {half} twice")
        best = rows[logits].to_numpy().argmax(axis=1)
        own = rows[_CLIP].assign(**{stage: pd.Categorical.from_codes(best, scenes)})
        if clips is None:
            clips = own
            continue
        if set(own["filename"]) != set(clips["filename"]):
            raise PredictionsError(f"the stages have different clips of {half}")
        clips = clips.merge(own[["filename", stage]], on="filename")
    if clips is None or clips.empty:
        raise PredictionsError(f"no clips of {half}")
    clips["scene"] = pd.Categorical(clips["scene"], scenes)
    return clips.reset_index(drop=True)


def scenes_of(clips: pd.DataFrame) -> list[str]:
    """All scenes that the models know, in the order of their logits."""
    return list(clips["scene"].cat.categories)
