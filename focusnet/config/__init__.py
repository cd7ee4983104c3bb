"""The settings of one trial: their types, defaults, ranges and rules."""

from focusnet.config.base import (
    Count,
    NonNegative,
    NonNegativeInt,
    Positive,
    Seed,
    Settings,
)
from focusnet.config.features import FeatureConfig
from focusnet.config.student import StudentConfig
from focusnet.config.trial import (
    Arm,
    AugmentConfig,
    ComputeConfig,
    DataConfig,
    DistillationConfig,
    FocusConfig,
    ModelConfig,
    StudentArm,
    TemplateConfig,
    TrialConfig,
    cache_folder,
    short_names,
)

__all__ = [
    "Arm",
    "AugmentConfig",
    "ComputeConfig",
    "Count",
    "DataConfig",
    "DistillationConfig",
    "FeatureConfig",
    "FocusConfig",
    "ModelConfig",
    "NonNegative",
    "NonNegativeInt",
    "Positive",
    "Seed",
    "Settings",
    "StudentArm",
    "StudentConfig",
    "TemplateConfig",
    "TrialConfig",
    "cache_folder",
    "short_names",
]
