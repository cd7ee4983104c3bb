"""Measures how fast this machine trains and predicts with a trial's settings, in some seconds.

It works on random clips, which cost what real ones do, because a plan is made before there is data.
Pre-trained weights are not loaded.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from focusnet.augment import DeviceImpulseResponses, read_impulse_responses
from focusnet.config import TrialConfig
from focusnet.errors import GpuMemoryError
from focusnet.mel import LogMel
from focusnet.micirp import MICIRP, published
from focusnet.model.passt import Passt, build_model
from focusnet.system.device import pick_device
from focusnet.system.precision import use_precision
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches
from focusnet.training.gpu_memory import memory_of_gpu, too_little_memory, training_memory
from focusnet.training.loop import OnEpoch, predict_logits, train_stage
from focusnet.training.second_stage import second_stage_objective

_CLASSES = 10
_BATCHES = 2  # of an epoch that is timed
_LR = 1e-9  # any that keeps the loss of noise finite
_SHARE_OF_DEVICE_A = 0.73  # of TAU22's training clips: those that DIR may be applied to


@dataclass(frozen=True)
class Speed:
    """Clips per second of one trial that has the device to itself."""

    device: str
    train: float  # of the FocusNet stage
    predict: float
    memory: int  # bytes: on a GPU the most that was reserved, else the process's largest size
    device_memory: int | None  # bytes that a GPU has
    warm_up: float = 0.0  # seconds that a stage takes before its steps are as fast as that


class _TimeIsUp(Exception):
    """Ends a training that was measured for long enough."""


def measure_speed(trial: TrialConfig, seconds: float = 4.0) -> Speed:
    """Train and predict for about ``seconds`` each, after a warm-up.

    No setting in ``trial.compute`` says ``auto``, see ``focusnet.auto_settings``.

    Raises:
        ConfigError: the trial's device is not there.
        DataError: its impulse responses cannot be read.
        GpuMemoryError: its GPU has too little memory.
    """
    device = pick_device(trial.compute.device)
    use_precision(trial.compute.precision, device)
    try:
        return _measure(trial, device, seconds)
    except torch.OutOfMemoryError as error:
        features = trial.features
        needed = training_memory(
            trial,
            (features.sample_rate - 1) // features.hop_length + 1,
            _CLASSES,
        )
        total, others = memory_of_gpu(device)
        text = too_little_memory(needed, total=total, others=others, gpu_share=1.0)
        raise GpuMemoryError(text) from error


def _measure(trial: TrialConfig, device: torch.device, seconds: float) -> Speed:
    precision = trial.compute.precision
    batch_size = trial.focus.batch_size or trial.template.batch_size
    clips = max(_BATCHES * batch_size, trial.compute.eval_batch_size)
    stage = SyntheticStage(trial, clips, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def train(on_epoch: OnEpoch) -> None:
        train_stage(
            stage.model,
            stage.mel,
            stage.objective,
            stage.batches(_BATCHES * batch_size, batch_size),
            stage.augmentation,
            stage.generator,
            epochs=10**6,
            optimizer=trial.template.optimizer,
            lr=_LR,
            weight_decay=0.0,
            lr_factor=lambda epoch: 1.0,
            device=device,
            precision=precision,
            on_epoch=on_epoch,
            micro_batch=trial.compute.micro_batch,
        )

    def predict() -> None:
        test = stage.batches(clips, trial.compute.eval_batch_size)
        predict_logits(stage.model, stage.mel, test, device=device, precision=precision)

    epoch, warm_up = shortest_epoch(train, device, seconds)
    train_rate = _BATCHES * batch_size / epoch
    predict_rate = clips / shortest(predict, seconds)
    memory, device_memory = memory_used(device)
    return Speed(device.type, train_rate, predict_rate, memory, device_memory, warm_up)


class SyntheticStage:
    """The FocusNet stage of a trial, on ``clips`` random clips."""

    def __init__(self, trial: TrialConfig, clips: int, device: torch.device) -> None:
        torch.set_num_threads(trial.compute.threads)
        augment, rate = trial.augment, trial.features.sample_rate
        rng = np.random.default_rng(0)
        self.samples = rng.integers(-3000, 3000, (clips, rate), dtype=np.int16)
        self.template_logits = rng.standard_normal((clips, _CLASSES), dtype=np.float32)
        self.eligible_for_dir = rng.random(clips) < _SHARE_OF_DEVICE_A
        self.generator = torch.Generator().manual_seed(0)
        self.mel = LogMel(
            **trial.features.model_dump(),
            fmin_aug_range=augment.fmin_aug_range,
            fmax_aug_range=augment.fmax_aug_range,
            freq_mask=augment.freq_mask,
            time_mask=augment.time_mask,
        )
        compiled = trial.compute.compile is True and device.type == "cuda"
        self.model = _model(trial, compiled=compiled)
        self.model.generator = self.generator
        online = trial.focus.template_logits == "online"
        template = _model(trial, compiled=False).to(device) if online else None
        self.objective = second_stage_objective("focusnet", trial.focus, template)
        self.augmentation = _augmentation(trial, rate)

    def batches(self, count: int, size: int) -> ClipBatches:
        """The first ``count`` clips in batches of ``size``."""
        return ClipBatches(
            self.samples,
            1 / 2**15,
            np.arange(count),
            np.arange(count) % _CLASSES,
            batch_size=size,
            generator=self.generator,
            eligible_for_dir=self.eligible_for_dir[:count],
            template_logits=self.template_logits[:count],
        )


def _model(trial: TrialConfig, *, compiled: bool) -> Passt:
    augment = trial.augment
    return build_model(
        trial.model.model_copy(update={"weights": "none"}),
        _CLASSES,
        n_mels=trial.features.n_mels,
        patchout_freq=augment.patchout_freq,
        patchout_time=augment.patchout_time,
        time_offset=augment.time_offset,
        class_tokens_only=True,
        compiled=compiled,
    )


def _augmentation(trial: TrialConfig, rate: int) -> Augmentation:
    augment, responses = trial.augment, None
    if augment.dir_folder == MICIRP:  # without a download: noise of as many and as long
        noise = torch.Generator().manual_seed(0)
        found = torch.randn(len(published()), rate // 2, generator=noise)
        responses = DeviceImpulseResponses(found, rate)
    elif augment.dir_folder is not None:
        found = read_impulse_responses(Path(augment.dir_folder), rate)
        responses = DeviceImpulseResponses(found, rate)
    return Augmentation(
        responses=responses,
        dir_probability=augment.dir_probability,
        roll_samples=augment.roll,
        mixstyle_probability=augment.mixstyle_probability,
        mixstyle_alpha=augment.mixstyle_alpha,
    )


def shortest_epoch(
    train: Callable[..., None], device: torch.device, seconds: float
) -> tuple[float, float]:
    """Seconds of the fastest epoch, without the first two, and of what the first has more."""
    marks: list[float] = []
    began = time.perf_counter()

    def on_epoch(epoch: int, means: dict[str, float], optimizer: dict[str, Any]) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())
        if len(marks) > 3 and marks[-1] - marks[0] > seconds:
            raise _TimeIsUp

    with contextlib.suppress(_TimeIsUp):
        train(on_epoch)
    shortest = float(np.diff(marks)[1:].min())
    return shortest, max(0.0, marks[0] - began - shortest)


def shortest(run: Callable[[], None], seconds: float) -> float:
    """Seconds of the fastest of the runs that fit into ``seconds``, after one to warm up."""
    run()
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def memory_used(device: torch.device) -> tuple[int, int | None]:
    """Bytes used, and bytes that the GPU has."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return torch.cuda.max_memory_reserved(device), total
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, None
