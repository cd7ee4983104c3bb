"""A trained network in a folder of its own, to be used without the study it came from.

``weights.safetensors`` is the state dict of hear21passt's PaSST, ``model.yaml`` says how to build
it and what it takes, ``trial.yaml`` how it was trained, and ``README.md`` is its model card.
"""

import math
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field
from torch import Tensor, nn

from focusnet.config import FeatureConfig, ModelConfig, Positive, Settings, TrialConfig
from focusnet.errors import DataError
from focusnet.mel import LogMel
from focusnet.model.passt import build_model, patch_stride
from focusnet.model.weights import read_weights
from focusnet.network_sizes import PATCH, SIZES
from focusnet.system.atomic import write_text
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml

MODEL, TRIAL, WEIGHTS, CARD = "model.yaml", "trial.yaml", "weights.safetensors", "README.md"


class ExportedModel(Settings):
    """What ``model.yaml`` holds."""

    classes: Annotated[list[str], Field(min_length=2)]  # in the order of the logits
    clip_seconds: Positive  # of the clips that it was trained on
    features: FeatureConfig  # log-mel front end
    model: ModelConfig
    passt: dict[str, Any]  # arguments of hear21passt's PaSST; not read here


class SceneClassifier(nn.Module):
    """Waveforms to logits: front end and PaSST in one, in evaluation mode and in fp32.

    ``classes`` names the logits; ``sample_rate`` in Hz and ``window`` in samples say what it was
    trained on. Shorter and longer waveforms are taken, too, up to ``longest`` samples.
    """

    def __init__(self, settings: ExportedModel, state: dict[str, Tensor]) -> None:
        super().__init__()
        features = settings.features
        self.classes = tuple(settings.classes)
        self.sample_rate = features.sample_rate
        # Rounded up, as clips are when they are resampled.
        self.window = math.ceil(round(settings.clip_seconds * self.sample_rate, 3))
        self.longest = settings.model.max_frames * features.hop_length
        self.mel = LogMel(**features.model_dump())
        self.passt = build_model(
            settings.model, len(self.classes), n_mels=features.n_mels, class_tokens_only=True
        )
        self.passt.load_state_dict(state)
        self.eval().requires_grad_(False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, samples) in [-1, 1] at ``sample_rate`` to logits (B, classes)."""
        return self.passt(self.mel(waveforms).unsqueeze(1))[0]


def load_model(folder: Path | str) -> SceneClassifier:
    """The network of an exported folder, ready to use.

    Raises:
        ConfigError, DataError: the folder is not what ``focusnet.export`` writes.
    """
    folder = Path(folder)
    if not (folder / MODEL).is_file():
        raise DataError(f"{folder}: has no {MODEL}; name a folder that focusnet.export has written")
    settings = validate(ExportedModel, read_yaml(folder / MODEL), str(folder / MODEL))
    state = read_weights(folder / WEIGHTS)
    try:
        return SceneClassifier(settings, state)
    except RuntimeError as error:  # torch's word for names or shapes that differ
        reason = str(error).replace("\n", " ")[:200]
        raise DataError(f"{folder / WEIGHTS}: does not fit {MODEL}: {reason}") from None


def write_model(
    folder: Path, trial: TrialConfig, classes: tuple[str, ...], clip_seconds: float, card: str
) -> None:
    """Write everything but the weights into ``folder``."""
    features = trial.features.model_dump()
    # The default depends on the augmentation, which is not part of the model.
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
    settings = _without_places(trial).model_dump()
    write_text(folder / TRIAL, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    write_text(folder / CARD, card)


def _without_places(trial: TrialConfig) -> TrialConfig:
    """The settings without the folders of the machine they were used on."""

    def name(place: str | None) -> str | None:
        return Path(place).name if place else place

    return trial.model_copy(
        update={
            "data": trial.data.model_copy(
                update={"root": Path(trial.data.root).name, "cache": None}
            ),
            "augment": trial.augment.model_copy(
                update={"dir_folder": name(trial.augment.dir_folder)}
            ),
            "model": trial.model.model_copy(update={"weights": Path(trial.model.weights).name}),
        }
    )
