"""The settings of one trial, validated before anything runs.

Every rule stands here once. Code elsewhere takes plain parameters: these objects are unpacked in
``focusnet.pipeline`` and nowhere deeper.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from focusnet.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Arm = Literal[
    "focusnet", "cross_entropy", "label_smoothing", "distillation", "reference", "placebo"
]


class Settings(BaseModel):
    """Base of all settings: no unknown keys, no silent conversions, no NaN, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class SyntheticConfig(Settings):
    """The data set that ``data.root: synthetic`` makes on first use."""

    train_locations: Count = 26  # per class
    test_locations: Annotated[int, Field(ge=2)] = 12  # per class: one for each half at least
    clips_per_location: Count = 4  # pieces of 1 s, cut from one recording
    seed: Seed = 0


class DataConfig(Settings):
    """Which clips a trial sees."""

    root: str  # a data set in the TAU22 layout, or 'synthetic'
    subset: Annotated[int, Field(ge=5, le=100)] = 100  # percent of the training clips
    subset_seed: Seed = 0  # of drawn subsets, where there is no official split{N}.csv
    on_bad_clip: Literal["error", "skip"] = "error"  # skipped clips are counted in the results
    cache: str | None = None  # default: $FOCUSNET_CACHE, then ~/.cache/focusnet
    synthetic: SyntheticConfig = SyntheticConfig()


class FeatureConfig(Settings):
    """Log-mel front end; lengths in samples, frequencies in Hz."""

    sample_rate: Annotated[int, Field(ge=8000, le=192_000)] = 44_100  # other files are resampled
    n_mels: Annotated[int, Field(ge=16)] = 128
    n_fft: Annotated[int, Field(ge=64)] = 1024
    win_length: Annotated[int, Field(ge=32)] = 800  # at most n_fft
    hop_length: Annotated[int, Field(ge=16)] = 320
    fmin: NonNegative = 0.0
    fmax: Positive | None = None  # default: half the rate less half of augment.fmax_aug_range

    @model_validator(mode="after")
    def _consistent(self) -> "FeatureConfig":
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, received {self.n_fft}")
        top = self.fmax if self.fmax is not None else self.sample_rate / 2
        if not self.fmin < top <= self.sample_rate / 2:
            raise ValueError(
                f"needs fmin < fmax <= sample_rate / 2, received fmin {self.fmin:g}, "
                f"fmax {top:g}, sample_rate {self.sample_rate}"
            )
        return self


class AugmentConfig(Settings):
    """Training augmentation; 0 (or 1 for the ``_aug_range`` pair) switches a part off."""

    dir_folder: str | None = None  # a folder of impulse responses; none: no DIR
    dir_probability: Probability = 0.6  # on clips of device a
    roll: NonNegativeInt = 10_000  # samples, at most, either way
    fmin_aug_range: Count = 1  # Hz
    fmax_aug_range: Count = 1000  # Hz
    freq_mask: NonNegativeInt = 48  # mel bins, at most
    time_mask: NonNegativeInt = 20  # frames, at most
    mixstyle_probability: Probability = 0.4  # per batch
    mixstyle_alpha: Positive = 0.4  # of the beta distribution that draws the share
    patchout_freq: NonNegativeInt = 6  # rows of patches
    patchout_time: NonNegativeInt = 0  # columns of patches
    time_offset: bool = True  # random offset into the time position embedding


class ModelConfig(Settings):
    """A PaSST: its size and the weights it starts from."""

    size: Literal["passt_s", "mini", "tiny"] = "passt_s"  # the latter two train from scratch
    weights: str = "audioset"  # 'audioset', 'none', or the path of a weights file
    stride: Annotated[int, Field(ge=1, le=16)] | None = None  # of patches; default: the size's own
    max_frames: Annotated[int, Field(ge=16)] = 998  # length of the time position embedding
    n_classes: Annotated[int, Field(ge=2)] | None = None  # default: as many as the data set has

    @model_validator(mode="after")
    def _audioset_is_passt_s(self) -> "ModelConfig":
        if self.weights == "audioset" and self.size != "passt_s":
            raise ValueError(
                f"weights 'audioset' exist for size 'passt_s' only, received size '{self.size}'; "
                "use weights: none or a path"
            )
        return self


class ScheduleConfig(Settings):
    """Learning rate factor by epoch: exponential warm-up, constant, linear down."""

    warmup: NonNegativeInt = 3  # epochs
    ramp_down_start: NonNegativeInt = 3  # epoch
    ramp_down_length: Count = 10  # epochs
    last_value: Probability = 0.01  # factor after that


class TemplateConfig(Settings):
    """Training of the template; FocusNet trains alike unless ``focus`` says otherwise."""

    epochs: Count = 25
    batch_size: Annotated[int, Field(ge=2)] = 128
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-5  # the recipe's is for weights of AudioSet; from scratch 7e-4 or so
    weight_decay: NonNegative = 1e-3
    schedule: ScheduleConfig = ScheduleConfig()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Literal["last", "best"] = "last"  # the epoch that is used: best is by select
    reuse: bool = True  # share one template among all trials with the same key


class DistillationConfig(Settings):
    """The arm ``distillation``: (1 - weight) * cross-entropy + weight * distillation loss."""

    temperature: Positive = 2.0
    weight: Probability = 0.5


class FocusConfig(Settings):
    """The second stage, FocusNet or a control; ``null`` means the same as the template."""

    weight: NonNegative = 1.0
    threshold: Threshold | None = None  # default 1 / number of classes
    temperature: Positive = 2.0
    entropy_weight: NonNegative = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    template_logits: Literal["stored", "cross_fitted", "online"] = "stored"
    folds: Annotated[int, Field(ge=2)] = 5  # of cross_fitted: by location, a template for each
    distillation: DistillationConfig = DistillationConfig()
    epochs: Count | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None


class ComputeConfig(Settings):
    """Where and how a trial computes; on CPU, ``threads`` is part of what fixes the result."""

    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU where there is one
    precision: Literal["auto", "fp32", "bf16"] = "fp32"  # auto: bf16 where it pays, chosen once
    compile: Literal["auto", True, False] = False  # by torch.compile, GPU only; auto: where it pays
    threads: Count = 1  # of torch
    eval_batch_size: Count = 256
    eval_epochs: Count = 1  # from one look at select to the next; the last epoch is seen always
    checkpoint_epochs: NonNegativeInt = 1  # from one state that is kept to the next; 0: none
    non_finite_retries: NonNegativeInt = 0  # where the loss is not finite, from the epoch before


class TrialConfig(Settings):
    """Everything that determines one trial.

    ``arm`` is what the second stage minimises, with the budget, initial weights, order of the clips
    and template of FocusNet: FocusNet's loss, one of the controls, FocusNet's loss as the paper
    sets it (reference), or FocusNet's loss with the template logits of another clip of the same
    scene (placebo).
    """

    seed: Seed = 0
    arm: Arm = "focusnet"
    data: DataConfig
    features: FeatureConfig = FeatureConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    template: TemplateConfig = TemplateConfig()
    focus: FocusConfig = FocusConfig()
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


def cache_folder(setting: str | None) -> Path:
    """Folder for what is computed once: waveforms, templates, downloads."""
    chosen = setting or os.environ.get("FOCUSNET_CACHE") or "~/.cache/focusnet"
    return Path(chosen).expanduser().absolute()


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The last part of each setting's dotted path, or all of it where two end alike."""
    last = {path: path.rpartition(".")[2] for path in paths}
    ends = list(last.values())
    return {path: name if ends.count(name) == 1 else path for path, name in last.items()}


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def validate(
    settings: type[AnySettings], content: Mapping[str, Any], source: str = "", prefix: str = ""
) -> AnySettings:
    """Build ``settings`` from ``content`` or raise one ConfigError with every problem.

    ``source`` (a file name) and ``prefix`` (a YAML path) lead each message.
    """
    try:
        return settings.model_validate(content)
    except ValidationError as error:
        lead = f"{source}: " if source else ""
        raise ConfigError(
            [lead + describe(settings, dict(problem), prefix) for problem in error.errors()]
        ) from None


def describe(settings: type[BaseModel], problem: dict[str, Any], prefix: str = "") -> str:
    """One of pydantic's ``problem``s as path, rule and value received."""
    location = [str(part) for part in problem["loc"]]
    path = ".".join([prefix, *location] if prefix else location) or "(top level)"
    if problem["type"] == "extra_forbidden":
        known = _field_names(settings, location[:-1])
        return f"{path}: unknown key{nearest(location[-1], known)}"
    if problem["type"] == "missing":
        return f"{path}: must be given"
    rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "literal_error":
        rule = rule.replace("True or False", "true or false")  # as YAML has them
    if problem["type"] in ("model_type", "dict_type"):
        rule = "must be a mapping of keys to values"
    if problem["type"] == "value_error":
        return f"{path}: {rule}"
    return f"{path}: {rule}, received {problem['input']!r}"


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)`` or the list of known names, for a message on an unknown one."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (known: {', '.join(known)})" if known else ""


def nested_settings(annotation: Any) -> type[BaseModel] | None:
    """The settings class in a field's annotation, also inside ``X | None``."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _field_names(settings: type[BaseModel], location: list[str]) -> list[str]:
    current: type[BaseModel] | None = settings
    for part in location:
        if current is None or part not in current.model_fields:
            return []
        current = nested_settings(current.model_fields[part].annotation)
    return list(current.model_fields) if current else []
