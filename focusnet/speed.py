"""How fast this machine trains and predicts with a trial's settings, from some seconds of work.

A plan needs it before there is data: random clips cost what real ones do. Weights are not loaded.
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

from focusnet.arms import second_stage_objective
from focusnet.augment import DeviceImpulseResponses, read_impulse_responses
from focusnet.batches import ClipBatches
from focusnet.config import TrialConfig
from focusnet.mel import LogMel
from focusnet.model import Passt, build_model
from focusnet.stages import pick_device
from focusnet.training import Augmentation, predict_logits, train_stage

_CLASSES = 10
_BATCHES = 2  # of an epoch that is timed
_SHARE_OF_DEVICE_A = 0.73  # of TAU22's training clips: those that DIR may be applied to


@dataclass(frozen=True)
class Speed:
    """Clips a second of one trial that has the device for itself."""

    device: str
    train: float  # of the FocusNet stage
    predict: float
    memory: int  # bytes: on a GPU the most that was reserved, else the process's largest size
    device_memory: int | None  # bytes that a GPU has


class _Enough(Exception):
    pass


def measure_speed(trial: TrialConfig, seconds: float = 4.0) -> Speed:
    """Train and predict for about ``seconds`` each, after a warm-up.

    Raises:
        ConfigError: the trial's device is not there.
        DataError: its impulse responses cannot be read.
    """
    device = pick_device(trial.compute.device)
    torch.set_num_threads(trial.compute.threads)
    batch_size = trial.focus.batch_size or trial.template.batch_size
    rng = np.random.default_rng(0)
    clips = max(_BATCHES * batch_size, trial.compute.eval_batch_size)
    rate = trial.features.sample_rate
    samples = rng.integers(-3000, 3000, (clips, rate), dtype=np.int16)
    logits = rng.standard_normal((clips, _CLASSES), dtype=np.float32)
    generator = torch.Generator().manual_seed(0)
    mel = LogMel(
        **trial.features.model_dump(),
        fmin_aug_range=trial.augment.fmin_aug_range,
        fmax_aug_range=trial.augment.fmax_aug_range,
        freq_mask=trial.augment.freq_mask,
        time_mask=trial.augment.time_mask,
    )
    model = _model(trial)
    model.generator = generator
    template = _model(trial).to(device) if trial.focus.template_logits == "online" else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def batches(count: int, size: int) -> ClipBatches:
        return ClipBatches(
            samples,
            1 / 2**15,
            np.arange(count),
            np.arange(count) % _CLASSES,
            batch_size=size,
            generator=generator,
            eligible_for_dir=rng.random(count) < _SHARE_OF_DEVICE_A,
            template_logits=logits[:count],
        )

    def train(on_epoch: Callable[[int, dict[str, float], dict[str, Any]], None]) -> None:
        train_stage(
            model,
            mel,
            second_stage_objective("focusnet", trial.focus, template),
            batches(_BATCHES * batch_size, batch_size),
            _augmentation(trial, rate),
            generator,
            epochs=10**6,
            optimizer=trial.template.optimizer,
            lr=1e-9,  # the loss of noise is no matter, but it must stay finite
            weight_decay=0.0,
            lr_factor=lambda epoch: 1.0,
            device=device,
            precision=trial.compute.precision,
            on_epoch=on_epoch,
        )

    def predict() -> None:
        test = batches(clips, trial.compute.eval_batch_size)
        predict_logits(model, mel, test, device=device, precision=trial.compute.precision)

    train_rate = _BATCHES * batch_size / _shortest_epoch(train, device, seconds)
    predict_rate = clips / _shortest(predict, seconds)
    memory, device_memory = _memory(device)
    return Speed(device.type, train_rate, predict_rate, memory, device_memory)


def _model(trial: TrialConfig) -> Passt:
    augment = trial.augment
    return build_model(
        trial.model.model_copy(update={"weights": "none"}),
        _CLASSES,
        n_mels=trial.features.n_mels,
        patchout_freq=augment.patchout_freq,
        patchout_time=augment.patchout_time,
        time_offset=augment.time_offset,
        class_tokens_only=True,
    )


def _augmentation(trial: TrialConfig, rate: int) -> Augmentation:
    augment, responses = trial.augment, None
    if augment.dir_folder is not None:
        found = read_impulse_responses(Path(augment.dir_folder), rate)
        responses = DeviceImpulseResponses(found, rate)
    return Augmentation(
        responses=responses,
        dir_probability=augment.dir_probability,
        roll_samples=augment.roll,
        mixstyle_probability=augment.mixstyle_probability,
        mixstyle_alpha=augment.mixstyle_alpha,
    )


def _shortest_epoch(train: Callable[..., None], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest epoch but the first two, which warm up."""
    marks: list[float] = []

    def on_epoch(epoch: int, means: dict[str, float], optimizer: dict[str, Any]) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        marks.append(time.perf_counter())
        if len(marks) > 3 and marks[-1] - marks[0] > seconds:
            raise _Enough

    with contextlib.suppress(_Enough):
        train(on_epoch)
    return float(np.diff(marks)[1:].min())


def _shortest(run: Callable[[], None], seconds: float) -> float:
    """Seconds of the fastest of the runs that fit into ``seconds``, after one to warm up."""
    run()
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _memory(device: torch.device) -> tuple[int, int | None]:
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return torch.cuda.max_memory_reserved(device), total
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, None
