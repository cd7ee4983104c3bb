"""Writes the model card of an exported student: use, size, teacher, accuracy, limits, licences."""

from importlib.metadata import version
from pathlib import Path

from focusnet.arms import LABELS, TEMPLATE, label_of
from focusnet.export.choose import ChosenTrial
from focusnet.export.model_card import licences, limits, right_or_wrong, shown_metrics
from focusnet.location_interval import macro_accuracy_interval


def student_card(chosen: ChosenTrial, clip_seconds: float) -> str:
    """The card of a student that was trained on clips of ``clip_seconds``, in Markdown."""
    trial = chosen.trial
    student = trial.student
    assert student is not None
    clips = chosen.result["clips"]
    data = "the synthetic data set of the FocusNet study"
    if trial.data.root != "synthetic":
        data = f"`{Path(trial.data.root).name}`"
    rate = student.features.sample_rate
    parts = [
        f"# {chosen.study}: student of {chosen.id}",
        "A small network for acoustic scene classification, of the architecture of the DCASE24 "
        f"Task 1 baseline, {_taught(chosen)}.",
        *([chosen.chosen] if chosen.chosen else []),
        _usage(rate),
        "## Size",
        _size(chosen),
        "## Data",
        f"{trial.data.subset} % of the training clips of {data}: {clips['train']:,} clips of "
        f"{clip_seconds:g} s, at {rate:,} Hz, seed {trial.seed}. The test split is divided into "
        "two halves by recording location: the search chose settings by accuracy on `select` "
        f"({clips['select']:,} clips); nothing was chosen on `report` ({clips['report']:,} clips).",
        f"Scenes, in the order of the logits: {', '.join(chosen.classes)}.",
        "## Accuracy",
        _accuracy(chosen),
        "## Settings",
        _settings(chosen),
        "## Limits",
        limits(chosen, clip_seconds),
        "## Licences",
        licences(chosen),
        "## Software",
        ", ".join(f"{name} {version(name)}" for name in ("torch", "torchaudio")) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _taught(chosen: ChosenTrial) -> str:
    trial = chosen.trial
    if trial.arm == LABELS:
        return "trained on the labels alone, without a teacher"
    teacher = (
        "a PaSST, the study's template"
        if trial.arm == TEMPLATE
        else (f"a PaSST, the second stage of arm `{trial.arm}` ({label_of(trial.arm)})")
    )
    seeds = trial.student.teacher_seeds if trial.student else None
    many = f", an ensemble of {len(seeds)} of them with different seeds" if seeds else ""
    return f"taught by the logits of {teacher}{many}"


def _usage(sample_rate: int) -> str:
    return f"""## Use

```python
from focusnet.exported import load_model
logits = load_model(".")(waveforms)  # (B, samples) in [-1, 1] at {sample_rate} Hz -> (B, scenes)
```

`python -m focusnet.predict . clips/ --out predictions.csv` takes files of any sample rate, length
and number of channels; `--format dcase` writes the system output of DCASE Task 1. Without this
project, the public code of the DCASE24 baseline loads the weights, strictly:
`model.load_state_dict(torch.load("model_state_dict.pt", weights_only=True))`."""


def _size(chosen: ChosenTrial) -> str:
    metrics, student = chosen.result["metrics"], chosen.trial.student
    assert student is not None
    return (
        f"{metrics['student/parameters']:,.0f} parameters, {metrics['student/bytes']:,.0f} bytes "
        f"in {student.precision}, {metrics['student/macs']:,.0f} multiply-accumulates for a clip. "
        "DCASE Task 1 allows 128,000 bytes and 30 million multiply-accumulates."
    )


def _accuracy(chosen: ChosenTrial) -> str:
    right = right_or_wrong(chosen.predictions())
    student, metrics = chosen.trial.student, chosen.result["metrics"]
    assert student is not None
    lines = [
        "Macro accuracy (mean over scenes) on `report` in %, of the student in "
        f"{student.precision}, with 95 % bootstrap intervals over recording locations:",
        "",
        "| | macro accuracy | 95 % interval |",
        "| --- | --- | --- |",
    ]
    titles = {"template": "template", "focus": "its teacher's arm", "student": "this student"}
    for stage, title in titles.items():
        if stage in right:
            value, low, high = (100 * number for number in macro_accuracy_interval(right, stage))
            lines.append(f"| {title} | {value:.1f} | {low:.1f} to {high:.1f} |")
    lines += ["", "| on `report`, % | this student |", "| --- | --- |"]
    lines += [
        f"| {title} | {100 * metrics[f'student/report/{name}']:.1f} |"
        for name, title in shown_metrics(chosen)
        if f"student/report/{name}" in metrics
    ]
    on_select = (
        f"Macro accuracy on `select`: {100 * metrics['student/select/macro_accuracy']:.1f} %"
    )
    if chosen.tried:
        on_select += f", biased upwards if it was chosen there as the best of {chosen.tried} trials"
    return "\n".join([*lines, "", f"{on_select}."])


def _settings(chosen: ChosenTrial) -> str:
    student = chosen.trial.student
    assert student is not None
    network, loss = student.network, student.distillation
    lines = [
        f"- network: base {network.base}, multiplier {network.multiplier:g}, expansion "
        f"{network.expansion:g}",
        f"- {student.epochs} epochs, batch {student.batch_size}, {student.optimizer}, learning "
        f"rate {student.lr:g}",
    ]
    if chosen.trial.arm != LABELS:
        lines.append(
            f"- loss: {loss.label_weight:g} of the cross-entropy, {loss.teacher_weight:g} of the "
            f"distillation loss (mean over classes) at temperature {loss.temperature:g}"
        )
    return "\n".join([*lines, "- everything else: `trial.yaml`"])
