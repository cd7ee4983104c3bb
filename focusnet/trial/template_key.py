"""Computes the key of a template: a hash of all that determines it, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from focusnet.model.weights import sha256_of, weights_path
from focusnet.trial.stages import PasstStages

# Part of every key: raise it when the same settings would give another template.
RECIPE = 1


def template_determinants(
    stages: PasstStages, clips: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """All that determines a template.

    Args:
        clips: names of the clips it is trained on, predicts and is evaluated on, by split; by
            default those of the trial's own template.
    """
    trial, data = stages.trial, stages.data
    path = weights_path(trial.model.weights, stages.cache)
    compute = trial.compute.model_dump(include={"precision", "threads", "eval_batch_size"})
    if trial.compute.compile:  # left out if false: templates made before the setting keep their key
        compute["compile"] = True
    if stages.micro_batch(trial.template.batch_size) is not None:
        compute["micro_batch"] = trial.compute.micro_batch
    if clips is None:
        clips = {split: data.names(rows) for split, rows in data.splits.items()}
    return {
        "data": data.fingerprint,
        "clips": dict(clips),
        "seed": trial.seed,
        "features": trial.features.model_dump(),
        "augment": trial.augment.model_dump(exclude={"dir_folder"}),
        "model": trial.model.model_dump(exclude={"weights"}),
        "weights": sha256_of(path) if path else None,
        "template": trial.template.model_dump(exclude={"reuse"}),
        "compute": compute,
        "device": stages.device.type,
        "versions": {
            name: version(name) for name in ("torch", "torchaudio", "hear21passt", "lightning")
        },
    }


def template_key(determinants: Mapping[str, Any]) -> str:
    """Hash of ``determinants``; independent of the order of its keys."""
    content = json.dumps({"recipe": RECIPE, **determinants}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
