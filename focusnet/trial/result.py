"""Compares the stages of a trial on both halves of the test split; holds the trial's result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pandas as pd

from focusnet.training.metrics import confusion_matrix
from focusnet.trial.data import Rows, TrialData
from focusnet.trial.logits import logits_frame
from focusnet.trial.stages import Logits, Stages


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial, as ``result.json`` holds it."""

    metrics: dict[str, float]  # '<stage>/<half>/<metric>', 'gain/...', 'focus/warm_classes', ...
    template_key: str | None  # None without a template, as in the arm 'labels'
    template_reused: bool | None
    confusion: dict[str, list[list[int]]]  # '<stage>/<half>': counts, rows are true scenes
    classes: tuple[str, ...]
    clips: dict[str, int]  # train, select, report
    skipped: tuple[str, ...]  # clips left out, with the reason
    # Of a trial with a student: keys in the store, and whether another trial had trained them.
    teacher_key: str | None = None
    teacher_reused: bool | None = None
    student_key: str | None = None
    student_reused: bool | None = None

    def content(self) -> dict[str, Any]:
        """As ``result.json`` holds it: without a student, without what only its trials have."""
        content = asdict(self)
        later = ("teacher_key", "teacher_reused", "student_key", "student_reused")
        for name in later if self.student_key is None else ():
            del content[name]
        return content

    def summary(self, half: str, arm: str) -> str:
        """One line with the macro accuracies of all stages on a half of the test split."""
        names = {"template": "template", "focus": arm, "student": "student"}
        values = {
            name: self.metrics[f"{stage}/{half}/macro_accuracy"]
            for stage, name in names.items()
            if f"{stage}/{half}/macro_accuracy" in self.metrics
        }
        text = ", ".join(f"{name} {100 * value:.1f} %" for name, value in values.items())
        gain = self.metrics.get(f"gain/{half}/macro_accuracy")
        text += "" if gain is None else f", gain {100 * gain:+.1f}"
        return f"{half} macro accuracy: {text}"


class Comparison(NamedTuple):
    """Metrics and confusion matrices of the stages, as in ``TrialResult``, and predictions."""

    metrics: dict[str, float]
    confusion: dict[str, list[list[int]]]
    predictions: pd.DataFrame


def compare_stages(stages: Stages, logits: Mapping[str, Mapping[str, Logits]]) -> Comparison:
    """Compare ``logits[stage][half]`` with the labels, for each stage that the trial has.

    The gain is that of the second stage over the template, where there are both.
    """
    data = stages.data
    metrics: dict[str, float] = {}
    confusion: dict[str, list[list[int]]] = {}
    frames = []
    for half, rows in data.halves.items():
        labels = data.labels(rows)
        for stage, of_halves in logits.items():
            found = of_halves[half]
            for name, value in stages.evaluate(found, rows).items():
                metrics[f"{stage}/{half}/{name}"] = value
            counts = confusion_matrix(labels, found.argmax(axis=1), len(stages.classes))
            confusion[f"{stage}/{half}"] = counts.tolist()
            frames.append(_predictions(data, stage, half, rows, found))
        for name in ("macro_accuracy", "accuracy") if "focus" in logits else ():
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
