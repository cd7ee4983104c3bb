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
    """Pair the predictions of both stages on one half of the test split, by clip.

    Trials of a student alone have none or one of these stages, and no column for the others.

    Args:
        predictions: one row for each clip, stage and half, with a logit for each scene.
        half: ``select`` or ``report``.

    Returns:
        ``filename``, ``device``, ``location``, and as categories of all scenes: ``scene`` (the
        true one), and the predicted ones in ``template`` and ``focus``.

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
    of_student = STUDENT in there
    if of_student:
        rows = of_half[of_half["stage"] == STUDENT]
        clips = rows[_CLIP].reset_index(drop=True)
    for stage in STAGES:
        if of_student and stage not in there:
            continue
        rows = of_half[of_half["stage"] == stage]
        if rows["filename"].duplicated().any():
            raise PredictionsError(f"{stage} has a clip of {half} twice")
        best = rows[logits].to_numpy().argmax(axis=1)
        own = rows[_CLIP].assign(**{stage: pd.Categorical.from_codes(best, scenes)})
        if clips is None:
            clips = own
            continue
        if set(own["filename"]) != set(clips["filename"]):
            raise PredictionsError(f"template and {stage} have different clips of {half}")
        clips = clips.merge(own[["filename", stage]], on="filename")
    if clips is None or clips.empty:
        raise PredictionsError(f"no clips of {half}")
    clips["scene"] = pd.Categorical(clips["scene"], scenes)
    return clips.reset_index(drop=True)


def scenes_of(clips: pd.DataFrame) -> list[str]:
    """All scenes that the models know, in the order of their logits."""
    return list(clips["scene"].cat.categories)
