"""The model card of an exported network: what it is, how good, on what, and what to beware of."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd

from focusnet.export.choose import Chosen
from focusnet.location_interval import macro_accuracy_interval
from focusnet.trial.logits import PREFIX

_GROUPS = {"real": "real devices", "seen": "simulated, seen in training", "unseen": "unseen"}
_TAU22 = "TAU-urban-acoustic-scenes-2022-mobile"


def model_card(chosen: Chosen, clip_seconds: float) -> str:
    """The card, in Markdown."""
    trial, features = chosen.trial, chosen.trial.features
    data = "the synthetic data set of the FocusNet study"
    if trial.data.root != "synthetic":
        data = f"`{Path(trial.data.root).name}`"
    clips = chosen.result["clips"]
    parts = [
        f"# {chosen.study}: {chosen.id}",
        f"PaSST (`{trial.model.size}`) for acoustic scene classification, second stage "
        f"`{trial.arm}` of the FocusNet study: trained with the knowledge of what a first network, "
        "its template, confused.",
        _usage(chosen, clip_seconds),
        "## Data",
        f"{trial.data.subset} % of the training clips of {data}: {clips['train']:,} clips of "
        f"{clip_seconds:g} s, at {features.sample_rate:,} Hz, seed {trial.seed}. Its test split is "
        f"halved by recording location: {clips['select']:,} clips by which the search chose its "
        f"settings (`select`), {clips['report']:,} that nothing was chosen on (`report`).",
        f"Scenes, in the order of the logits: {', '.join(chosen.classes)}.",
        "## Accuracy",
        _accuracy(chosen),
        *_confirmation(chosen),
        "## Settings",
        _settings(chosen),
        "## Limits",
        _limits(chosen, clip_seconds),
        "## Licences",
        _licences(chosen),
        "## Made with",
        ", ".join(f"{name} {version(name)}" for name in ("torch", "torchaudio", "hear21passt"))
        + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _usage(chosen: Chosen, clip_seconds: float) -> str:
    rate = chosen.trial.features.sample_rate
    return f"""## Use

```python
from focusnet.exported import load_model
logits = load_model(".")(waveforms)  # (B, samples) in [-1, 1] at {rate} Hz -> (B, scenes)
```

`python -m focusnet.predict . clips/ --out predictions.csv` takes files of any rate, length and
number of channels. With hear21passt's own class, on log-mels of the front end in `model.yaml`:

```python
import yaml, safetensors.torch
from hear21passt.models.passt import PaSST
passt = PaSST(**yaml.safe_load(open("model.yaml"))["passt"]).eval()
passt.load_state_dict(safetensors.torch.load_file("weights.safetensors"))
```"""


def _accuracy(chosen: Chosen) -> str:
    right = _right(chosen.predictions())
    lines = [
        "Macro accuracy (mean over scenes) in %, on `report`, with 95 % intervals from drawing "
        "whole locations again:",
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
        for name, title in _shown(chosen)
        if f"focus/report/{name}" in metrics
    ]
    lines += [
        "",
        f"On `select`{_how_chosen(chosen)}: "
        f"{100 * metrics['focus/select/macro_accuracy']:.1f} %{_flattery(chosen)}.",
    ]
    return "\n".join(lines)


def _shown(chosen: Chosen) -> list[tuple[str, str]]:
    rows = [("accuracy", "accuracy over clips"), ("calibration_error", "calibration error")]
    rows += [(f"class/{scene}", scene) for scene in chosen.classes]
    return rows + [(f"group/{group}", title) for group, title in _GROUPS.items()]


def _how_chosen(chosen: Chosen) -> str:
    return f", where it was chosen as the best of {chosen.tried} trials" if chosen.tried else ""


def _flattery(chosen: Chosen) -> str:
    return ", which flatters" if chosen.tried else ""


def _right(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a clip of ``report``: scene, location, template and focus (1 where right), gain."""
    rows = predictions[predictions["half"] == "report"]
    logits = [column for column in rows if column.startswith(PREFIX)]
    guess = rows[logits].idxmax(axis=1).str.removeprefix(PREFIX)
    rows = rows.assign(right=(guess == rows["scene"]).astype(int))
    table = rows.pivot(index=["filename", "scene", "location"], columns="stage", values="right")
    table["gain"] = table["focus"] - table["template"]
    return table.reset_index()


def _confirmation(chosen: Chosen) -> list[str]:
    """What fresh seeds gave, where the study repeated its winner."""
    column = "focus/report/macro_accuracy"
    if chosen.confirm.empty or column not in chosen.confirm:
        return [
            "It was trained with one seed, and not repeated with others: how far a seed moves its "
            "accuracy is not known."
        ]
    lines = [
        "Trained again with fresh seeds, this network's settings and the controls' (macro accuracy "
        "on `report`, %; the study's report tests the differences):",
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


def _settings(chosen: Chosen) -> str:
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
    known = {"none": "drawn at random", "audioset": "PaSST's own, trained on AudioSet"}
    return known.get(weights, Path(weights).name)


def _limits(chosen: Chosen, clip_seconds: float) -> str:
    lines = [
        f"- It knows these {len(chosen.classes)} scenes only and names one of them for any sound.",
        f"- It was trained on clips of {clip_seconds:g} s; longer files are cut into such windows "
        "and their probabilities averaged, which was not measured here.",
        "- Accuracy on other cities, devices and microphones than those of the test split is not "
        "known; the groups of devices above show how far it falls where a device is new.",
        "- The intervals hold for the choice of test locations, not for that of the seed.",
    ]
    return "\n".join(lines)


def _licences(chosen: Chosen) -> str:
    lines = ["The licence of the study's code does not cover these weights.", ""]
    if chosen.trial.model.weights == "audioset":
        lines.append(
            "- They start from PaSST's AudioSet weights (github.com/kkoutini/PaSST; the package "
            "hear21passt names Apache-2.0), which were trained on the sound of YouTube videos."
        )
    elif chosen.trial.model.weights != "none":
        lines.append("- They start from other weights, whose licence holds for these as well.")
    if _TAU22 in chosen.trial.data.root:
        lines.append(
            "- They were trained on TAU Urban Acoustic Scenes 2022 Mobile, (c) Tampere University "
            "and its licensors, whose licence permits experimental and non-commercial purposes "
            "only, asks to name its source in publications, and counts selling or distributing "
            "results achieved with it, and services that use it, as commercial."
        )
    elif chosen.trial.data.root == "synthetic":
        lines.append("- They were trained on synthetic sound that no one else has rights in.")
    else:
        lines.append("- The licence of the data set they were trained on applies.")
    return "\n".join(lines)
