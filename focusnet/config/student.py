"""Settings of the student: the small network that a trial's second stage teaches."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from focusnet.config.base import (
    BatchSize,
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Probability,
    Seed,
    Settings,
)
from focusnet.config.features import FeatureConfig


class StudentNetworkConfig(Settings):
    """Size of the student; the default is the baseline of DCASE24 Task 1."""

    base: Annotated[int, Field(ge=8, multiple_of=4)] = 32
    """Channels after the stem."""
    multiplier: Annotated[float, Field(ge=1)] = 1.8
    """Growth of the channels from one of the three stages to the next."""
    expansion: Annotated[float, Field(ge=1)] = 2.1
    """Growth of the channels inside a block."""


class LimitsConfig(Settings):
    """What a student may cost, as DCASE Task 1 counts it; a larger one is refused."""

    kilobytes: Positive = 128.0
    """Memory of the parameters in `student.precision`, in units of 1,000 bytes."""
    mmacs: Positive = 30.0
    """Multiply-accumulates for one clip, in millions."""


class StudentFeatureConfig(FeatureConfig):
    """Log-mel front end of the student; the default is that of the DCASE24 baseline."""

    sample_rate: Annotated[int, Field(ge=8000, le=192_000)] = 32_000
    """Sample rate in Hz; files with another rate are resampled."""
    n_mels: Annotated[int, Field(ge=16)] = 256
    """Number of mel bins."""
    n_fft: Annotated[int, Field(ge=64)] = 4096
    """FFT length in samples; even."""
    win_length: Annotated[int, Field(ge=32)] = 3072
    """Window length in samples, at most `n_fft`."""
    hop_length: Annotated[int, Field(ge=16)] = 500
    """Hop between frames in samples."""
    fmax: Positive | None = None
    """Highest mel edge in Hz; `null`: half of the rate, for `passt` less half of the jitter."""
    transform: Literal["torchaudio", "passt"] = "torchaudio"
    """Mel transform: torchaudio's, or PaSST's with jitter of the mel edges."""


class StudentAugmentConfig(Settings):
    """Augmentation of the student's training clips; DIR takes its responses from ``augment``."""

    dir_probability: Probability = 0.0
    """Probability of DIR augmentation for each clip of device a; needs `augment.dir_folder`."""
    roll: NonNegativeInt = 3200
    """Largest circular shift of the waveform, either way, in samples."""
    fmin_aug_range: Count = 1
    """Width of the random jitter of the lowest mel edge in Hz; for `passt` only."""
    fmax_aug_range: Count = 1000
    """Width of the random jitter of the highest mel edge in Hz; for `passt` only."""
    freq_mask: NonNegativeInt = 48
    """Largest frequency mask in mel bins."""
    time_mask: NonNegativeInt = 0
    """Largest time mask in frames."""
    mixstyle_probability: Probability = 0.4
    """Probability of frequency mix-style for each batch."""
    mixstyle_alpha: Positive = 0.3
    """Parameter of the beta distribution that mix-style draws its mixing weights from."""


class StudentScheduleConfig(Settings):
    """Factor on the student's learning rate.

    ``cosine``: by step, linear warm-up, then half a cosine to 0. ``ramp``: by epoch, exponential
    warm-up, constant, linear ramp-down.
    """

    form: Literal["cosine", "ramp"] = "cosine"
    """Form of the schedule."""
    warmup_share: Probability = 0.0244
    """Warm-up of `cosine` as a share of all steps: the baseline's 2,000 of 81,900 on all of TAU22,
    and the 100 of 4,100 that the FocusNet team took for 5 %."""
    warmup: NonNegativeInt = 14
    """Warm-up of `ramp` in epochs."""
    ramp_down_start: NonNegativeInt = 50
    """Epoch at which the ramp-down of `ramp` starts."""
    ramp_down_length: Count = 84
    """Length of the ramp-down of `ramp` in epochs."""
    last_value: Probability = 0.005
    """Factor of `ramp` after the ramp-down."""


class StudentDistillationConfig(Settings):
    """The student's loss: ``label_weight * CE + teacher_weight * T^2 * KL``.

    KL is averaged over batch and classes, as in the field's code. In the usual form, a sum over
    classes, the same weight is C times as large: 0.98 here is 0.098 there with ten classes.
    """

    label_weight: NonNegative = 0.02
    """Weight of the cross-entropy."""
    teacher_weight: NonNegative = 0.98
    """Weight of the distillation loss."""
    temperature: Positive = 2.0
    """Temperature T of both softmaxes in the distillation loss."""

    @model_validator(mode="after")
    def _some_weight(self) -> "StudentDistillationConfig":
        if self.label_weight == self.teacher_weight == 0:
            raise ValueError("label_weight and teacher_weight must not both be 0, or the loss is 0")
        return self


class StudentConfig(Settings):
    """The third stage: a small network that learns from the logits of the trial's teacher."""

    network: StudentNetworkConfig = StudentNetworkConfig()
    limits: LimitsConfig | None = LimitsConfig()
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"
    """Precision that the student is tested in; its bytes count in it."""
    features: StudentFeatureConfig = StudentFeatureConfig()
    augment: StudentAugmentConfig = StudentAugmentConfig()
    epochs: Count = 150
    """Number of epochs."""
    batch_size: BatchSize = 256
    """Clips per batch."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Optimizer."""
    lr: Positive = 5e-3
    """Peak learning rate."""
    weight_decay: NonNegative = 1e-4
    """Weight decay of the optimizer."""
    schedule: StudentScheduleConfig = StudentScheduleConfig()
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights to use; `best` is the best on `select`."""
    distillation: StudentDistillationConfig = StudentDistillationConfig()
    teachers: Literal["own", "ensemble"] = "own"
    """Whose logits teach: the trial's own, or the mean over the teachers of all fresh seeds of the
    first look (confirmation only: a search trial learns from its own teacher)."""
    teacher_seeds: Annotated[list[Seed], Field(min_length=2)] | None = None
    """Seeds of the ensemble; a study sets them in its confirmation."""

    @model_validator(mode="after")
    def _consistent(self) -> "StudentConfig":
        if self.teacher_seeds is not None and self.teachers != "ensemble":
            raise ValueError("teacher_seeds needs teachers: ensemble, received teachers: own")
        if self.teacher_seeds is not None and len(set(self.teacher_seeds)) < len(
            self.teacher_seeds
        ):
            raise ValueError(f"teacher_seeds must differ, received {self.teacher_seeds}")
        return self
