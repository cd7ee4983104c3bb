"""The settings of one trial, validated before anything runs.

Every rule stands here once. Code elsewhere takes plain parameters: these objects are unpacked in
``focusnet.pipeline`` and nowhere deeper. The sentence under each field is its line in
``docs/space.md``.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, get_args

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
    Smoothing,
    Threshold,
)
from focusnet.config.features import FeatureConfig
from focusnet.config.student import StudentConfig

StudentArm = Literal["template", "labels"]
Arm = Literal[
    "focusnet",
    "cross_entropy",
    "label_smoothing",
    "distillation",
    "reference",
    "placebo",
    "template",
    "labels",
]


class SyntheticConfig(Settings):
    """The data set that ``data.root: synthetic`` generates on first use."""

    train_locations: Count = 26
    """Training locations per class."""
    test_locations: Annotated[int, Field(ge=2)] = 12
    """Test locations per class, at least one for each half of the test split."""
    clips_per_location: Count = 4
    """Clips of 1 s per location, cut from one recording."""
    seed: Seed = 0
    """Seed of the generated audio."""


class DataConfig(Settings):
    """Which clips a trial uses."""

    root: str
    """Folder of a data set in the TAU22 layout, or `synthetic`."""
    subset: Annotated[int, Field(ge=5, le=100)] = 100
    """Percentage of the training clips to train on."""
    subset_seed: Seed = 0
    """Seed for drawing a subset where the data set has no official `split{N}.csv`."""
    on_bad_clip: Literal["error", "skip"] = "error"
    """Stop at unusable clips, or leave them out and list them in the results."""
    cache: str | None = None
    """Cache folder; `null`: `$FOCUSNET_CACHE`, else `~/.cache/focusnet`."""
    synthetic: SyntheticConfig = SyntheticConfig()


class AugmentConfig(Settings):
    """Training augmentation; 0 (for the ``_aug_range`` pair: 1) switches a part off."""

    dir_folder: str | None = None
    """Device impulse responses: `micirp` (66 microphones, as the field uses them, downloaded on
    first use), a folder of WAV files, or `null`: no DIR augmentation."""
    dir_probability: Probability = 0.6
    """Probability of DIR augmentation for each clip of device a."""
    roll: NonNegativeInt = 10_000
    """Largest circular shift of the waveform, either way, in samples."""
    fmin_aug_range: Count = 1
    """Width of the random jitter of the lowest mel edge in Hz."""
    fmax_aug_range: Count = 1000
    """Width of the random jitter of the highest mel edge in Hz."""
    freq_mask: NonNegativeInt = 48
    """Largest frequency mask in mel bins."""
    time_mask: NonNegativeInt = 20
    """Largest time mask in frames."""
    mixstyle_probability: Probability = 0.4
    """Probability of frequency mix-style for each batch."""
    mixstyle_alpha: Positive = 0.4
    """Parameter of the beta distribution that mix-style draws its mixing weights from."""
    patchout_freq: NonNegativeInt = 6
    """Rows of patches (frequency) that patchout drops."""
    patchout_time: NonNegativeInt = 0
    """Columns of patches (time) that patchout drops."""
    time_offset: bool = True
    """Whether to start the time position embedding at a random offset."""


class ModelConfig(Settings):
    """A PaSST: its size and the weights it starts from."""

    size: Literal["passt_s", "mini", "tiny"] = "passt_s"
    """Size of the network; `mini` and `tiny` train from scratch."""
    weights: str = "audioset"
    """Initial weights: `audioset`, `none`, or the path of a weights file."""
    stride: Annotated[int, Field(ge=1, le=16)] | None = None
    """Stride of the patches in bins and frames; `null`: 10 for `passt_s`, 16 for the others."""
    max_frames: Annotated[int, Field(ge=16)] = 998
    """Length of the time position embedding in frames."""
    n_classes: Annotated[int, Field(ge=2)] | None = None
    """Number of classes; `null`: as many as the data set has."""

    @model_validator(mode="after")
    def _audioset_is_passt_s(self) -> "ModelConfig":
        if self.weights == "audioset" and self.size != "passt_s":
            raise ValueError(
                f"weights 'audioset' exist for size 'passt_s' only, received size '{self.size}'; "
                "use weights: none or a path"
            )
        return self


class ScheduleConfig(Settings):
    """Factor on the learning rate by epoch: exponential warm-up, constant, linear ramp-down."""

    warmup: NonNegativeInt = 3
    """Length of the warm-up in epochs."""
    ramp_down_start: NonNegativeInt = 3
    """Epoch at which the ramp-down starts."""
    ramp_down_length: Count = 10
    """Length of the ramp-down in epochs."""
    last_value: Probability = 0.01
    """Factor after the ramp-down."""


class TemplateConfig(Settings):
    """Training of the template; the second stage trains alike unless ``focus`` says otherwise."""

    epochs: Count = 25
    """Number of epochs."""
    batch_size: BatchSize = 128
    """Clips per batch."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Optimizer."""
    lr: Positive = 1e-5
    """Learning rate; the default suits AudioSet weights, from scratch use about 7e-4."""
    weight_decay: NonNegative = 1e-3
    """Weight decay of the optimizer."""
    schedule: ScheduleConfig = ScheduleConfig()
    label_smoothing: Smoothing = 0.0
    """Label smoothing of the cross-entropy."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights to use, in both stages; `best` is the best on `select`."""
    reuse: bool = True
    """Whether trials with the same data, seed and template settings share one template."""


class DistillationConfig(Settings):
    """The arm ``distillation``: cross-entropy and distillation loss, weighted in one of two forms.

    ``usual``: (1 - ``weight``) and ``weight``, with a distillation loss summed over classes.
    ``field``: ``label_weight`` and ``teacher_weight``, with one averaged over classes, as the field
    distils students.
    """

    temperature: Positive = 2.0
    """Temperature of both softmaxes in the distillation loss."""
    weight: Probability = 0.5
    """Weight of the distillation loss (form `usual`)."""
    form: Literal["usual", "field"] = "usual"
    """How both losses are weighted."""
    label_weight: NonNegative = 0.02
    """Weight of the cross-entropy (form `field`)."""
    teacher_weight: NonNegative = 0.98
    """Weight of the distillation loss (form `field`)."""


class FocusConfig(Settings):
    """The second stage, FocusNet or a control."""

    weight: NonNegative = 1.0
    """Weight of the attention term."""
    threshold: Threshold | None = None
    """Probability above which a class is warm (confused); `null`: 1 / number of classes."""
    temperature: Positive = 2.0
    """Temperature of the template's softmax in the confusion mask."""
    entropy_weight: NonNegative = 1.0
    """Weight of the negentropy term."""
    label_smoothing: Smoothing = 0.1
    """Label smoothing of the classification term, and of the arm `label_smoothing`."""
    template_logits: Literal["stored", "cross_fitted", "online"] = "stored"
    """Template's logits: computed once, out-of-fold, or computed on every augmented batch."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Number of folds by location for `cross_fitted`; each trains a template of its own."""
    distillation: DistillationConfig = DistillationConfig()
    epochs: Count | None = None
    """Number of epochs; `null`: as the template."""
    batch_size: BatchSize | None = None
    """Clips per batch; `null`: as the template."""
    lr: Positive | None = None
    """Learning rate; `null`: as the template."""
    weight_decay: NonNegative | None = None
    """Weight decay; `null`: as the template."""


class ComputeConfig(Settings):
    """Where and how a trial computes; on a CPU, ``threads`` can change results in the last bits."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device; `auto`: the GPU if there is one."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Precision; `tf32`, `fp16`: GPU only; `auto`: bf16 or fp16 on a GPU, chosen once per study."""
    compile: Literal["auto", True, False] = False
    """Use torch.compile (GPU only); `auto`: if training is long enough, chosen once per study."""
    threads: Count = 1
    """CPU threads of torch."""
    micro_batch: Count | None = None
    """Clips of a training batch computed at a time (less memory); `null`: all. Not for students."""
    eval_batch_size: Count = 256
    """Clips per batch in evaluation."""
    eval_epochs: Count = 1
    """Evaluate on `select` every N epochs and after the last."""
    checkpoint_epochs: NonNegativeInt = 1
    """Checkpoint every N epochs; 0 disables."""
    checkpoint_seconds: NonNegative = 60.0
    """Checkpoint at most so often, in seconds."""
    non_finite_retries: NonNegativeInt = 0
    """How often a stage may go back an epoch and retry when its loss is not finite."""


class TrialConfig(Settings):
    """Everything that determines one trial.

    ``arm`` is what the second stage minimises, with the budget, initial weights, order of the clips
    and template of FocusNet: FocusNet's loss, one of the controls, FocusNet's loss as the paper
    sets it (reference), or FocusNet's loss with the template logits of another clip of the same
    scene (placebo). Two arms have no second stage and train a student only: one from the template
    (template), one without a teacher (labels).
    """

    seed: Seed = 0
    """Seed of initial weights, order of the clips and augmentation."""
    arm: Arm = "focusnet"
    """What the second stage minimises."""
    data: DataConfig
    features: FeatureConfig = FeatureConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    template: TemplateConfig = TemplateConfig()
    focus: FocusConfig = FocusConfig()
    student: StudentConfig | None = None
    compute: ComputeConfig = ComputeConfig()

    def with_compute(self, **values: str | bool) -> "TrialConfig":
        """The same with other, valid values in ``compute``."""
        compute = self.compute.model_copy(update=values)
        return self.model_copy(update={"compute": compute})

    @model_validator(mode="after")
    def _placebo_is_stored(self) -> "TrialConfig":
        if self.arm == "placebo" and self.focus.template_logits == "online":
            raise ValueError(
                "arm 'placebo' shuffles stored logits among clips, received "
                "focus.template_logits: online"
            )
        return self

    @model_validator(mode="after")
    def _student_arm_has_a_student(self) -> "TrialConfig":
        if self.student is None and self.arm in get_args(StudentArm):
            raise ValueError(
                f"arm '{self.arm}' has no second stage and trains a student only: it needs "
                "settings in student, received student: null"
            )
        return self

    @model_validator(mode="after")
    def _student_has_responses(self) -> "TrialConfig":
        student, folder = self.student, self.augment.dir_folder
        if student is not None and student.augment.dir_probability > 0 and folder is None:
            raise ValueError(
                "student.augment.dir_probability: needs impulse responses in augment.dir_folder, "
                f"received {student.augment.dir_probability:g} and augment.dir_folder: null"
            )
        return self


def cache_folder(setting: str | None) -> Path:
    """Folder for what is computed or downloaded once: waveforms, templates, weights."""
    chosen = setting or os.environ.get("FOCUSNET_CACHE") or "~/.cache/focusnet"
    return Path(chosen).expanduser().absolute()


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each setting's dotted path, or all of it where two end alike."""
    last = {path: path.rpartition(".")[2] for path in paths}
    ends = list(last.values())
    return {path: name if ends.count(name) == 1 else path for path, name in last.items()}
