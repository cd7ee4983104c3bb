"""Builds and evaluates the networks of a trial's stages, as its settings say.

Configuration objects are unpacked here; what is called from here takes plain parameters.
"""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, nn

from focusnet.augment import DeviceImpulseResponses
from focusnet.config import AugmentConfig, TrialConfig
from focusnet.config.student import StudentAugmentConfig
from focusnet.errors import ConfigError
from focusnet.mel import LogMel
from focusnet.model.passt import Passt, build_model
from focusnet.system.device import pick_device
from focusnet.system.precision import use_precision
from focusnet.training.augmentation import Augmentation
from focusnet.training.gpu_clips import GpuClipCache
from focusnet.training.gpu_memory import memory_of_gpu, too_little_memory, training_memory
from focusnet.training.loop import predict_logits
from focusnet.training.metrics import evaluate_logits
from focusnet.trial.check_settings import check_settings
from focusnet.trial.data import Rows, TrialData
from focusnet.trial.seeds import derive_seed

Logits = NDArray[np.float32]


class Stages(ABC):
    """What the training of a stage needs of a trial: settings, data, front end, device.

    Args:
        mel: front end of its network.
        augment: augmentation of its training batches.
        gpu_share: fraction of its GPU that is the trial's.
    """

    def __init__(
        self,
        trial: TrialConfig,
        data: TrialData,
        mel: nn.Module,
        augment: AugmentConfig | StudentAugmentConfig,
        gpu_share: float,
    ) -> None:
        self.trial = trial
        self.data = data
        self.classes = data.dataset.classes
        self.device = pick_device(trial.compute.device)
        self.gpu_share = gpu_share
        if "auto" in (trial.compute.precision, trial.compute.compile):
            raise ValueError("auto is not resolved, see focusnet.auto_settings")
        if trial.compute.compile and self.device.type == "cpu":
            raise ConfigError("compute.compile: must be false on a CPU, received true")
        torch.set_num_threads(trial.compute.threads)
        use_precision(trial.compute.precision, self.device)
        rows = np.concatenate(list(data.splits.values()))
        self.gpu_cache = GpuClipCache(
            data.waveforms.samples, data.waveforms.position[rows], self.device, gpu_share
        )
        self.mel = mel
        self._augment = augment

    @abstractmethod
    def build(self, training: bool, generator: Generator | None = None) -> nn.Module:
        """A fresh network, the same for each call; ``generator`` is for draws while it trains."""

    def augmentation(self) -> Augmentation:
        """The augmentation of training batches."""
        augment = self._augment
        responses = None
        if self.data.responses is not None:
            samples = self.data.waveforms.samples.shape[1]
            responses = DeviceImpulseResponses(self.data.responses, samples)
        return Augmentation(
            responses=responses,
            dir_probability=augment.dir_probability,
            roll_samples=augment.roll,
            mixstyle_probability=augment.mixstyle_probability,
            mixstyle_alpha=augment.mixstyle_alpha,
        )

    def micro_batch(self, batch_size: int) -> int | None:
        """Clips of a training batch that are computed at a time; None: all of them."""
        size = self.trial.compute.micro_batch
        return None if size is None or size >= batch_size else size

    @abstractmethod
    def too_little_memory(self) -> str:
        """What a user reads where the GPU had too little memory for the stages."""

    def predict(self, model: nn.Module, rows: Rows) -> Logits:
        """Logits (N, C) of clips, in evaluation mode."""
        compute = self.trial.compute
        batches = self.data.batches(rows, compute.eval_batch_size, gpu_cache=self.gpu_cache)
        return predict_logits(
            model, self.mel, batches, device=self.device, precision=compute.precision
        )

    def evaluate(self, logits: Logits, rows: Rows) -> dict[str, float]:
        """All metrics of the logits of clips."""
        return evaluate_logits(
            logits, self.data.labels(rows), self.data.devices(rows), self.classes
        )


class PasstStages(Stages):
    """What the template and the second stage of a trial share.

    Args:
        cache: folder of downloaded weights.
        gpu_share: fraction of its GPU that is the trial's.
    """

    def __init__(
        self, trial: TrialConfig, data: TrialData, cache: Path, gpu_share: float = 1.0
    ) -> None:
        mel = LogMel(
            **trial.features.model_dump(),
            fmin_aug_range=trial.augment.fmin_aug_range,
            fmax_aug_range=trial.augment.fmax_aug_range,
            freq_mask=trial.augment.freq_mask,
            time_mask=trial.augment.time_mask,
        )
        super().__init__(trial, data, mel, trial.augment, gpu_share)
        self.cache = cache
        self.frames = mel.frames(data.waveforms.samples.shape[1])
        check_settings(trial, self.frames, len(self.classes))

    def too_little_memory(self) -> str:
        """See ``focusnet.training.gpu_memory``."""
        total, others = memory_of_gpu(self.device)
        return too_little_memory(
            training_memory(self.trial, self.frames, len(self.classes)),
            total=total,
            others=others,
            gpu_share=self.gpu_share,
        )

    def build(self, training: bool, generator: Generator | None = None) -> Passt:
        """A fresh PaSST, the same for both stages; for training with patchout and time offset."""
        augment = self.trial.augment
        model = build_model(
            self.trial.model,
            len(self.classes),
            n_mels=self.trial.features.n_mels,
            patchout_freq=augment.patchout_freq if training else 0,
            patchout_time=augment.patchout_time if training else 0,
            time_offset=augment.time_offset and training,
            class_tokens_only=True,
            compiled=self.trial.compute.compile is True,
            seed=derive_seed(self.trial.seed, "model"),
            cache=self.cache,
        )
        model.generator = generator
        return model
