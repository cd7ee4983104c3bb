"""A student learns from a teacher's logits, in the same loop as PaSST."""

import numpy as np
import pytest
import torch
from torch import Generator

from focusnet.schedule import warmup_cosine
from focusnet.student import StudentMel, build_student
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches
from focusnet.training.loop import predict_logits, train_stage
from focusnet.training.objectives import FieldDistillation

CPU = torch.device("cpu")
RATE, CLIPS, BATCH, EPOCHS = 8000, 48, 8, 8


def front_end() -> StudentMel:
    return StudentMel(RATE, 32, 512, 400, 160, freq_mask=4)


def batches(generator: Generator | None = None) -> ClipBatches:
    """Tones of three classes, whose teacher is sure of the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(CLIPS) % 3
    time = np.arange(RATE) / RATE
    tones = np.sin(2 * np.pi * np.array([300, 900, 2400])[labels, None] * time)
    samples = (3000 * tones + rng.normal(0, 300, (CLIPS, RATE))).astype(np.int16)
    return ClipBatches(
        samples,
        1 / 2**15,
        np.arange(CLIPS),
        labels,
        batch_size=BATCH,
        generator=generator,
        template_logits=6 * np.eye(3, dtype=np.float32)[labels],
    )


class Training:
    """One training of a small student, which can go on from a state."""

    def __init__(self) -> None:
        self.network = build_student(8, n_classes=3, generator=Generator().manual_seed(0))
        self.augment, self.order = Generator().manual_seed(1), Generator().manual_seed(2)
        self.losses: list[float] = []
        self.optimizer: dict | None = None

    def run(self, epochs: int, done: int = 0, stop_after: int | None = None) -> None:
        def on_epoch(epoch, means, optimizer):
            self.losses.append(means["loss"])
            self.optimizer = optimizer
            if epoch == stop_after:
                raise KeyboardInterrupt

        train = batches(self.order)
        train_stage(
            self.network,
            front_end(),
            FieldDistillation(2.0, 0.1, 0.9 * 3),
            train,
            Augmentation(
                responses=None,
                dir_probability=0.0,
                roll_samples=800,
                mixstyle_probability=0.4,
                mixstyle_alpha=0.3,
            ),
            self.augment,
            epochs=epochs,
            optimizer="adamw",
            lr=5e-3,
            weight_decay=1e-4,
            lr_factor=warmup_cosine(len(train), epochs * len(train)),
            device=CPU,
            precision="fp32",
            on_epoch=on_epoch,
            done=done,
            optimizer_state=self.optimizer if done else None,
            lr_by_step=True,
        )


@pytest.fixture(scope="module")
def whole() -> Training:
    training = Training()
    training.run(EPOCHS)
    return training


def test_a_student_learns_what_its_teacher_knows(whole):
    logits = predict_logits(whole.network, front_end(), batches(), device=CPU, precision="fp32")
    assert (logits.argmax(1) == np.arange(CLIPS) % 3).mean() > 0.9
    assert whole.losses[-1] < 0.75 * whole.losses[0]


def test_a_training_that_was_interrupted_ends_in_the_same_weights(whole):
    training = Training()
    with pytest.raises(KeyboardInterrupt):
        training.run(EPOCHS, stop_after=3)
    training.run(EPOCHS, done=3)
    assert training.losses == whole.losses
    for name, value in training.network.state_dict().items():
        assert torch.equal(value, whole.network.state_dict()[name]), name


def test_the_learning_rate_follows_the_steps(whole):
    assert whole.optimizer is not None
    rate = whole.optimizer["param_groups"][0]["lr"]
    # After the last step of a half cosine it is 0; by epochs it would be far from it.
    assert rate == pytest.approx(0.0, abs=1e-4)
