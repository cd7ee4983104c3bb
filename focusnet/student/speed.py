"""Measures how fast this machine trains and predicts with a trial's student, on random clips."""

import numpy as np
import torch

from focusnet.augment import DeviceImpulseResponses
from focusnet.config import TrialConfig
from focusnet.student.check import build_mel, build_network
from focusnet.student.stages import InPrecision, in_fast_layout
from focusnet.student.training import student_objective
from focusnet.system.device import pick_device
from focusnet.system.precision import use_precision
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches
from focusnet.training.loop import OnEpoch, predict_logits, train_stage
from focusnet.training.speed import Speed, memory_used, shortest, shortest_epoch

_CLASSES = 10
_BATCHES = 2  # of an epoch that is timed


def measure_student_speed(trial: TrialConfig, seconds: float = 2.0) -> Speed:
    """Train and predict for about ``seconds`` each, after a warm-up; DIR is left out.

    Raises:
        ConfigError: the trial's device is not there.
    """
    student = trial.student
    assert student is not None
    torch.set_num_threads(trial.compute.threads)
    device = pick_device(trial.compute.device)
    use_precision(trial.compute.precision, device)
    count = max(_BATCHES * student.batch_size, trial.compute.eval_batch_size)
    rng = np.random.default_rng(0)
    samples = rng.integers(-3000, 3000, (count, student.features.sample_rate), dtype=np.int16)
    logits = rng.standard_normal((count, _CLASSES), dtype=np.float32)
    generator = torch.Generator().manual_seed(0)
    network = in_fast_layout(build_network(student.network, _CLASSES), device)
    mel = build_mel(student)
    augment = student.augment
    no_responses: DeviceImpulseResponses | None = None
    augmentation = Augmentation(
        responses=no_responses,
        dir_probability=0.0,
        roll_samples=augment.roll,
        mixstyle_probability=augment.mixstyle_probability,
        mixstyle_alpha=augment.mixstyle_alpha,
    )

    def batches(clips: int, size: int) -> ClipBatches:
        rows = np.arange(clips)
        return ClipBatches(
            samples,
            1 / 2**15,
            rows,
            rows % _CLASSES,
            batch_size=size,
            generator=generator,
            template_logits=logits[:clips],
        )

    def train(on_epoch: OnEpoch) -> None:
        train_stage(
            network,
            mel,
            student_objective(student, taught=True),
            batches(_BATCHES * student.batch_size, student.batch_size),
            augmentation,
            generator,
            epochs=10**6,
            optimizer=student.optimizer,
            lr=1e-9,  # any that keeps the loss of noise finite
            weight_decay=0.0,
            lr_factor=lambda epoch: 1.0,
            device=device,
            precision=trial.compute.precision,
            on_epoch=on_epoch,
        )

    def predict() -> None:
        tested = InPrecision(network, student.precision, on_cpu=device.type == "cpu")
        test = batches(count, trial.compute.eval_batch_size)
        predict_logits(tested, mel, test, device=device, precision="fp32")

    epoch, warm_up = shortest_epoch(train, device, seconds)
    rates = _BATCHES * student.batch_size / epoch, count / shortest(predict, seconds)
    return Speed(device.type, *rates, *memory_used(device), warm_up)
