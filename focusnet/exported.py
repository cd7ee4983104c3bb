"""Writes and loads exported models: folders with a trained network that need no study.

``weights.safetensors`` is a state dict of hear21passt's PaSST, or of a student. ``model.yaml``
holds the settings of network and front end, ``trial.yaml`` those of the training. ``README.md`` is
the model card.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from pydantic import Field
from torch import Tensor, nn

from focusnet.config import (
    FeatureConfig,
    ModelConfig,
    Positive,
    Settings,
    StudentConfig,
    TrialConfig,
)
from focusnet.errors import DataError
from focusnet.mel import LogMel
from focusnet.model.passt import build_model, patch_stride
from focusnet.model.weights import read_weights
from focusnet.network_sizes import PATCH, SIZES
from focusnet.student.check import build_mel, build_network
from focusnet.student.stages import InPrecision
from focusnet.system.atomic import replacing, write_text
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml

MODEL, TRIAL, WEIGHTS, CARD = "model.yaml", "trial.yaml", "weights.safetensors", "README.md"
STATE_DICT = "model_state_dict.pt"  # of a student, for the public code
_LONGEST_SECONDS = 600  # of a window for a student, which takes any length that fits in memory


class ExportedModel(Settings):
    """Content of ``model.yaml``."""

    classes: Annotated[list[str], Field(min_length=2)]  # in the order of the logits
    clip_seconds: Positive  # length of its training clips
    features: FeatureConfig  # log-mel front end
    model: ModelConfig
    passt: dict[str, Any]  # arguments for hear21passt's PaSST; not used by this project


class SceneClassifier(nn.Module):
    """Front end and PaSST as one module from waveforms to logits, in evaluation mode and fp32.

    Attributes:
        classes: names of the scenes, in the order of the logits.
        sample_rate: Hz.
        window: length of a training clip in samples; other lengths work, too.
        shortest, longest: bounds of the length of a waveform in samples.
    """

    def __init__(self, settings: ExportedModel, state: dict[str, Tensor]) -> None:
        super().__init__()
        features = settings.features
        self.classes = tuple(settings.classes)
        self.sample_rate = features.sample_rate
        # Rounded up, as resampling does.
        self.window = math.ceil(round(settings.clip_seconds * self.sample_rate, 3))
        self.shortest = 16 * features.hop_length
        self.longest = settings.model.max_frames * features.hop_length
        self.mel = LogMel(**features.model_dump())
        self.passt = build_model(
            settings.model, len(self.classes), n_mels=features.n_mels, class_tokens_only=True
        )
        self.passt.load_state_dict(state)
        self.eval().requires_grad_(False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms (B, samples) in [-1, 1] at ``sample_rate`` to logits (B, classes)."""
        return self.passt(self.mel(waveforms).unsqueeze(1))[0]


class ExportedStudent(Settings):
    """Content of ``model.yaml`` of a student."""

    classes: Annotated[list[str], Field(min_length=2)]  # in the order of the logits
    clip_seconds: Positive  # length of its training clips
    student: StudentConfig  # network, front end and precision, and how it was trained


class StudentClassifier(nn.Module):
    """Front end and student as one module from waveforms to logits, in evaluation mode.

    It computes in the precision that the student was tested in. Attributes are as those of
    ``SceneClassifier``.
    """

    def __init__(self, settings: ExportedStudent, state: dict[str, Tensor]) -> None:
        super().__init__()
        student = settings.student
        self.classes = tuple(settings.classes)
        self.sample_rate = student.features.sample_rate
        self.window = math.ceil(round(settings.clip_seconds * self.sample_rate, 3))
        # The STFT mirrors half a window at the ends of a waveform.
        self.shortest = student.features.n_fft // 2 + 1
        self.longest = _LONGEST_SECONDS * self.sample_rate
        self.mel = build_mel(student)
        self.network = build_network(student.network, len(self.classes))
        self.network.load_state_dict(state)
        self._precision = student.precision
        self.eval().requires_grad_(False)
        self._tested: InPrecision | None = None

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms (B, samples) in [-1, 1] at ``sample_rate`` to logits (B, classes)."""
        on_cpu = waveforms.device.type == "cpu"
        if self._tested is None or self._tested.on_cpu != on_cpu:
            self._tested = InPrecision(self.network, self._precision, on_cpu=on_cpu).eval()
        logits: Tensor = self._tested(self.mel(waveforms).unsqueeze(1))
        return logits.float()


def load_model(folder: Path | str) -> SceneClassifier | StudentClassifier:
    """Load an exported model.

    Raises:
        ConfigError, DataError: ``folder`` was not written by ``focusnet.export``, or is damaged.
    """
    folder = Path(folder)
    if not (folder / MODEL).is_file():
        raise DataError(f"{folder}: has no {MODEL}; give a folder that focusnet.export has written")
    content = read_yaml(folder / MODEL)
    state = read_weights(folder / WEIGHTS)
    try:
        if "student" in content:
            return StudentClassifier(validate(ExportedStudent, content, str(folder / MODEL)), state)
        return SceneClassifier(validate(ExportedModel, content, str(folder / MODEL)), state)
    except RuntimeError as error:  # what torch raises for names or shapes that differ
        reason = str(error).replace("\n", " ")[:200]
        raise DataError(f"{folder / WEIGHTS}: does not fit {MODEL}: {reason}") from None


def write_student(
    folder: Path, trial: TrialConfig, classes: tuple[str, ...], clip_seconds: float, card: str
) -> None:
    """As ``write_model``, of the student whose weights are in ``folder``.

    Also writes ``model_state_dict.pt``, which the public code of the DCASE24 baseline loads.
    """
    student = trial.student
    assert student is not None
    content = {
        "classes": list(classes),
        "clip_seconds": clip_seconds,
        "student": student.model_dump(exclude={"teacher_seeds"}),
    }
    validate(ExportedStudent, content)
    write_text(folder / MODEL, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    settings = _without_folders(trial).model_dump()
    write_text(folder / TRIAL, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_text(folder / CARD, card)
    with replacing(folder / STATE_DICT) as part:
        torch.save(read_weights(folder / WEIGHTS), part)


def write_model(
    folder: Path, trial: TrialConfig, classes: tuple[str, ...], clip_seconds: float, card: str
) -> None:
    """Write ``model.yaml``, ``trial.yaml`` and the model card ``card`` into ``folder``."""
    features = trial.features.model_dump()
    # The default of fmax depends on the augmentation, which is not part of the model.
    features["fmax"] = float(LogMel(**features, fmax_aug_range=trial.augment.fmax_aug_range).fmax)
    model = trial.model.model_dump() | {"weights": "none", "n_classes": len(classes)}
    embedding, depth, heads, _ = SIZES[trial.model.size]
    content = {
        "classes": list(classes),
        "clip_seconds": clip_seconds,
        "features": features,
        "model": model,
        "passt": {
            "img_size": [trial.features.n_mels, trial.model.max_frames],
            "patch_size": PATCH,
            "stride": patch_stride(trial.model),
            "num_classes": len(classes),
            "embed_dim": embedding,
            "depth": depth,
            "num_heads": heads,
            "distilled": True,
        },
    }
    validate(ExportedModel, content)
    write_text(folder / MODEL, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    settings = _without_folders(trial).model_dump()
    write_text(folder / TRIAL, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_text(folder / CARD, card)


def _without_folders(trial: TrialConfig) -> TrialConfig:
    """The settings with the last part of each path only, to reveal nothing about this machine."""
    data, augment, model = trial.data, trial.augment, trial.model
    responses = augment.dir_folder and Path(augment.dir_folder).name
    return trial.model_copy(
        update={
            "data": data.model_copy(update={"root": Path(data.root).name, "cache": None}),
            "augment": augment.model_copy(update={"dir_folder": responses}),
            "model": model.model_copy(update={"weights": Path(model.weights).name}),
        }
    )
