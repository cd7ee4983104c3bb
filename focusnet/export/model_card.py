"""Writes the model card of an exported network: use, data, accuracy, settings, limits, licences."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd

from focusnet.export.choose import ChosenTrial
from focusnet.location_interval import macro_accuracy_interval
from focusnet.trial.logits import PREFIX

_GROUPS = {
    "real": "real devices",
    "seen": "simulated devices, seen in training",
    "unseen": "simulated devices, not seen in training",
}
_TAU22 = "TAU-urban-acoustic-scenes-2022-mobile"


def model_card(chosen: ChosenTrial, clip_seconds: float) -> str:
    """The card of a network that was trained on clips of ``clip_seconds``, in Markdown."""
    trial, features = chosen.trial, chosen.trial.features
    data = "the synthetic data set of the FocusNet study"
    if trial.data.root != "synthetic":
        data = f"`{Path(trial.data.root).name}`"
    clips = chosen.result["clips"]
    parts = [
        f"# {chosen.study}: {chosen.id}",
        f"PaSST (`{trial.model.size}`) for acoustic scene classification, trained in the second "
        f"stage of the FocusNet study, arm `{trial.arm}`. The network of the first stage, its "
        "template, is what the study compares it with.",
        *([chosen.chosen] if chosen.chosen else []),
        _usage(features.sample_rate),
        "## Data",
        f"{trial.data.subset} % of the training clips of {data}: {clips['train']:,} clips of "
        f"{clip_seconds:g} s, at {features.sample_rate:,} Hz, seed {trial.seed}. The test split is "
        "divided into two halves by recording location: the search chose settings by accuracy on "
        f"`select` ({clips['select']:,} clips); nothing was chosen on `report` "
        f"({clips['report']:,} clips).",
        f"Scenes, in the order of the logits: {', '.join(chosen.classes)}.",
        "## Accuracy",
        _accuracy(chosen),
        *_confirmation(chosen),
        "## Settings",
        _settings(chosen),
        "## Limits",
        limits(chosen, clip_seconds),
        "## Licences",
        licences(chosen),
        "## Software",
        ", ".join(f"{name} {version(name)}" for name in ("torch", "torchaudio", "hear21passt"))
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _usage(sample_rate: int) -> str:
    return f"""## Use

```python
from focusnet.exported import load_model
logits = load_model(".")(waveforms)  # (B, samples) in [-1, 1] at {sample_rate} Hz -> (B, scenes)
```

`python -m focusnet.predict . clips/ --out predictions.csv` takes files of any sample rate, length
and number of channels. Without this project, hear21passt's own class loads the weights; its input
is a log-mel spectrogram with the settings in `model.yaml`:

```python
import yaml, safetensors.torch
from hear21passt.models.passt import PaSST
passt = PaSST(**yaml.safe_load(open("model.yaml"))["passt"]).eval()
passt.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
```"""


def _accuracy(chosen: ChosenTrial) -> str:
    right = right_or_wrong(chosen.predictions())
    lines = [
        "Macro accuracy (mean over scenes) on `report` in %, with 95 % bootstrap intervals over "
        "recording locations:",
        "",
        "| | macro accuracy | 95 % interval |",
        "| --- | --- | --- |",
    ]
    for column, title in (
        ("template", "template"),
        ("focus", "this network"),
        ("gain", "gain, in points"),
    ):
        value, low, high = (100 * number for number in macro_accuracy_interval(right, column))
        sign = "+" if column == "gain" else ""
        lines.append(f"| {title} | {value:{sign}.1f} | {low:{sign}.1f} to {high:{sign}.1f} |")
    metrics = chosen.result["metrics"]
    lines += ["", "| on `report`, % | template | this network |", "| --- | --- | --- |"]
    lines += [
        f"| {title} | {100 * metrics[f'template/report/{name}']:.1f} "
        f"| {100 * metrics[f'focus/report/{name}']:.1f} |"
        for name, title in shown_metrics(chosen)
        if f"focus/report/{name}" in metrics
    ]
    on_select = f"Macro accuracy on `select`: {100 * metrics['focus/select/macro_accuracy']:.1f} %"
    if chosen.tried:
        trials = f"{chosen.tried} trial{'s' * (chosen.tried > 1)}"
        on_select += f", biased upwards because it was chosen there as the best of {trials}"
    return "\n".join([*lines, "", f"{on_select}."])


def shown_metrics(chosen: ChosenTrial) -> list[tuple[str, str]]:
    """Further metrics of the card, and their titles."""
    rows = [("accuracy", "accuracy over clips"), ("calibration_error", "calibration error")]
    rows += [(f"class/{scene}", scene) for scene in chosen.classes]
    return rows + [(f"group/{group}", title) for group, title in _GROUPS.items()]


def right_or_wrong(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per clip of ``report``: scene, location, each stage (1 if right), gain."""
    rows = predictions[predictions["half"] == "report"]
    logits = [column for column in rows if column.startswith(PREFIX)]
    guess = rows[logits].idxmax(axis=1).str.removeprefix(PREFIX)
    rows = rows.assign(right=(guess == rows["scene"]).astype(int))
    table = rows.pivot(index=["filename", "scene", "location"], columns="stage", values="right")
    if "focus" in table:
        table["gain"] = table["focus"] - table["template"]
    return table.reset_index()


def _confirmation(chosen: ChosenTrial) -> list[str]:
    """Accuracy of the trainings with fresh seeds, if the study made them."""
    column = "focus/report/macro_accuracy"
    if chosen.confirm.empty or column not in chosen.confirm:
        return [
            "It was trained with a single seed, so how much accuracy depends on the seed is not "
            "known."
        ]
    lines = [
        "Macro accuracy on `report` in %, after training again with fresh seeds, with the settings "
        "of this network and for the control arms (the study's report tests the differences):",
        "",
        "| arm | seeds | mean | lowest | highest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for arm, rows in chosen.confirm.groupby("arm", sort=False):
        values = 100 * rows[column]
        lines.append(
            f"| {arm} | {len(values)} | {values.mean():.1f} | {values.min():.1f} "
            f"| {values.max():.1f} |"
        )
    return ["\n".join(lines)]


def _settings(chosen: ChosenTrial) -> str:
    focus = chosen.trial.focus
    threshold = "1 / number of scenes" if focus.threshold is None else f"{focus.threshold:g}"
    warm = chosen.result["metrics"].get("focus/warm_classes")
    lines = [
        f"- focus weight {focus.weight:g}, confusion threshold {threshold}, temperature "
        f"{focus.temperature:g}, entropy weight {focus.entropy_weight:g}, label smoothing "
        f"{focus.label_smoothing:g}",
        f"- initial weights: {_initial(chosen.trial.model.weights)}",
        "- everything else: `trial.yaml`",
    ]
    if warm is not None:
        lines.insert(1, f"- {warm:.2f} warm classes per training clip on average")
    return "\n".join(lines)


def _initial(weights: str) -> str:
    known = {"none": "random", "audioset": "PaSST's published weights, trained on AudioSet"}
    return known.get(weights, Path(weights).name)


def limits(chosen: ChosenTrial, clip_seconds: float) -> str:
    """What the network cannot do, and what is not known of it."""
    lines = [
        f"- It classifies every sound as one of these {len(chosen.classes)} scenes.",
        f"- It was trained on clips of {clip_seconds:g} s. `focusnet.predict` cuts longer files "
        "into windows of this length and averages their probabilities; the accuracy of this was "
        "not measured.",
        "- Its accuracy in other cities and with other devices than in the test split is not "
        "known. The device groups above show how much accuracy drops on unseen devices.",
        "- The intervals cover the choice of test locations, not that of the seed.",
    ]
    return "\n".join(lines)


def licences(chosen: ChosenTrial) -> str:
    """The licences that apply to the weights."""
    lines = ["The licence of the study's code does not cover these weights.", ""]
    if chosen.trial.model.weights == "audioset":
        lines.append(
            "- Training started from PaSST's AudioSet weights (github.com/kkoutini/PaSST; the "
            "package hear21passt states Apache-2.0), which were trained on the sound of YouTube "
            "videos."
        )
    elif chosen.trial.model.weights != "none":
        lines.append("- Training started from other weights, whose licence applies as well.")
    if _TAU22 in chosen.trial.data.root:
        lines.append(
            "- They were trained on TAU Urban Acoustic Scenes 2022 Mobile, (c) Tampere University "
            "and its licensors. Its licence permits experimental and non-commercial purposes only "
            "and requires that publications name the source. It counts as commercial: selling or "
            "distributing results achieved with the data, and services that use it."
        )
    elif chosen.trial.data.root == "synthetic":
        lines.append("- They were trained on synthetic sound, in which nobody else has rights.")
    else:
        lines.append("- The licence of the data set that they were trained on applies.")
    return "\n".join(lines)
