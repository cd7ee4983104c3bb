"""A small training stage with every augmentation, on any device."""

import numpy as np
import torch

from focusnet.augment import DeviceImpulseResponses
from focusnet.config import ModelConfig
from focusnet.loss import FocusNetLoss
from focusnet.mel import LogMel
from focusnet.model.passt import Passt, build_model
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches
from focusnet.training.gpu_clips import GpuClipCache
from focusnet.training.loop import Stage
from focusnet.training.micro_batches import Objective
from focusnet.training.objectives import FocusObjective

RATE, BATCH, CLASSES = 8000, 6, 10


def tiny(**changes) -> Passt:
    """A tiny PaSST with all of its random parts on."""
    config = ModelConfig(size="tiny", weights="none")
    settings = {"class_tokens_only": True, "patchout_freq": 2, "patchout_time": 1}
    model = build_model(config, CLASSES, time_offset=True, **settings, **changes)
    model.generator = torch.Generator().manual_seed(0)
    return model


def front_end() -> LogMel:
    return LogMel(sample_rate=RATE, fmax_aug_range=500)


def batches(count: int, cached_on: torch.device | None = None) -> ClipBatches:
    """``count`` batches of noise, from the host or from a cache on a device."""
    rng = np.random.default_rng(0)
    clips = count * BATCH
    samples = rng.integers(-3000, 3000, (clips, RATE), dtype=np.int16)
    cache = None
    if cached_on is not None:
        cache = GpuClipCache(samples, np.arange(clips), cached_on)
        cache.fill()
    return ClipBatches(
        samples,
        1 / 32768,
        np.arange(clips),
        np.arange(clips) % CLASSES,
        batch_size=BATCH,
        generator=torch.Generator().manual_seed(0),
        eligible_for_dir=np.arange(clips) % 3 > 0,
        template_logits=rng.standard_normal((clips, CLASSES), dtype=np.float32),
        gpu_cache=cache,
    )


def augmentation(device: torch.device) -> Augmentation:
    """Every augmentation, in every batch."""
    noise = torch.randn(3, 400, generator=torch.Generator().manual_seed(1))
    return Augmentation(
        responses=DeviceImpulseResponses(noise, RATE).to(device),
        dir_probability=0.6,
        roll_samples=1000,
        mixstyle_probability=1.0,
        mixstyle_alpha=0.4,
    )


def stage_on(device: torch.device, objective: Objective | None = None) -> Stage:
    """A stage, by default with FocusNet's objective."""
    return Stage(
        tiny().to(device).train(),
        front_end().to(device).train(),
        objective or FocusObjective(FocusNetLoss()),
        augmentation(device),
        torch.Generator().manual_seed(0),
        optimizer="adamw",
        lr=1e-3,
        weight_decay=0.01,
        lr_factor=lambda epoch: 1.0,
        on_epoch=lambda epoch, means, optimizer: None,
        done=0,
        optimizer_state=None,
    )
