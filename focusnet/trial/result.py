"""Compares both stages of a trial on both halves of the test split; holds the trial's result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from focusnet.training.metrics import confusion_matrix
from focusnet.trial.data import Rows, TrialData
from focusnet.trial.logits import logits_frame
from focusnet.trial.stages import Logits, Stages


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial, as ``result.json`` holds it."""

    metrics: dict[str, float]  # '<stage>/<half>/<metric>', 'gain/...', 'focus/warm_classes', ...
    template_key: str
    template_reused: bool
    confusion: dict[str, list[list[int]]]  # '<stage>/<half>': counts, rows are true scenes
    classes: tuple[str, ...]
    clips: dict[str, int]  # train, select, report
    skipped: tuple[str, ...]  # clips left out, with the reason


class Comparison(NamedTuple):
    """Metrics and confusion matrices of both stages, as in ``TrialResult``, and predictions."""

    metrics: dict[str, float]
    confusion: dict[str, list[list[int]]]
    predictions: pd.DataFrame


def compare_stages(stages: Stages, logits: Mapping[str, Mapping[str, Logits]]) -> Comparison:
    """Compare ``logits[stage][half]`` with the labels, for the stages template and focus."""
    data = stages.data
    metrics: dict[str, float] = {}
    confusion: dict[str, list[list[int]]] = {}
    frames = []
    for half, rows in data.halves.items():
        labels = data.labels(rows)
        for stage in ("template", "focus"):
            found = logits[stage][half]
            for name, value in stages.evaluate(found, rows).items():
                metrics[f"{stage}/{half}/{name}"] = value
            counts = confusion_matrix(labels, found.argmax(axis=1), len(stages.classes))
            confusion[f"{stage}/{half}"] = counts.tolist()
            frames.append(_predictions(data, stage, half, rows, found))
        for name in ("macro_accuracy", "accuracy"):
            gain = metrics[f"focus/{half}/{name}"] - metrics[f"template/{half}/{name}"]
            metrics[f"gain/{half}/{name}"] = gain
    return Comparison(metrics, confusion, pd.concat(frames, ignore_index=True))


def _predictions(
    data: TrialData, stage: str, half: str, rows: Rows, logits: Logits
) -> pd.DataFrame:
    clips = data.dataset.clips.iloc[rows]
    frame = logits_frame(data.names(rows), logits, data.dataset.classes)
    frame.insert(1, "stage", stage)
    frame.insert(2, "half", half)
    for place, name in enumerate(("scene", "device", "location"), start=3):
        frame.insert(place, name, clips[name].to_numpy())
    return frame
