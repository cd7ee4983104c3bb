"""Replaces ``auto`` in a trial's ``compute`` settings, by the machine's GPU and the trial's length.

Precision and compilation change results. So the choice is made once, before anything is trained,
and recorded with the results: a study's in its space.yaml, a single trial's in its config.yaml.
Without torch on import, because the driver of a study never imports it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focusnet.config import ComputeConfig, TrialConfig
from focusnet.system.gpu import GpuFeatures, gpu_features
from focusnet.system.yaml_file import read_yaml

logger = logging.getLogger(__name__)

# Compiling is taken to cost a worker process a minute at most. A training clip at 44.1 kHz costs
# 41.6 GFLOP, 53 µs at an H100's peak. At 40 % of the peak that is 130 µs; a compiled step that is a
# fifth faster saves some 30 µs a clip, so a minute after two million clips. Slower GPUs save more.
COMPILE_FROM_CLIPS = 2_000_000


@dataclass(frozen=True)
class Choice:
    """A value and the reason for it; as text such as ``bf16 (the GPU has it)``."""

    value: str | bool
    why: str

    def __str__(self) -> str:
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{value} ({self.why})"


def auto_settings(trial: TrialConfig) -> list[str]:
    """The settings of ``trial.compute`` that say ``auto`` and have to be chosen."""
    return [name for name in ("precision", "compile") if getattr(trial.compute, name) == "auto"]


def recorded_values(names: Iterable[str], compute: Mapping[str, Any]) -> dict[str, Any]:
    """Values recorded in ``compute``; defaults for settings that did not exist at the time."""
    default = ComputeConfig()
    return {name: compute.get(name, getattr(default, name)) for name in names}


def with_choices(trial: TrialConfig, choices: Mapping[str, Choice]) -> TrialConfig:
    """``trial`` with the chosen values."""
    return trial.with_compute(**{name: choice.value for name, choice in choices.items()})


def choose(
    trial: TrialConfig, clips: float, machines: Sequence[GpuFeatures | None]
) -> dict[str, Choice]:
    """The value of each setting that says ``auto``, one that all ``machines`` can do.

    Precision is bf16 where every GPU has it, fp16 on other GPUs, fp32 without one. Compilation is
    on where it can work and pays.

    Args:
        clips: that one process trains on, each counted as often as it is trained on.
        machines: those that trials run on; None for one without a GPU.
    """
    rules = {"precision": _precision(machines), "compile": _compilation(machines, clips)}
    return {name: rules[name] for name in auto_settings(trial)}


def choose_here(trial: TrialConfig, clips: float) -> dict[str, Choice]:
    """As ``choose``, for this machine.

    Raises:
        ConfigError: the trial's device is not there.
    """
    from focusnet.system.device import pick_device  # imports torch

    gpu = pick_device(trial.compute.device).type == "cuda"
    return choose(trial, clips, [gpu_features() if gpu else None])


def resolve(trial: TrialConfig, out_dir: Path, clips: float) -> TrialConfig:
    """``trial`` without ``auto``: with the values recorded in ``out_dir``, else with new choices.

    Raises:
        ConfigError: the trial's device is not there.
    """
    names = auto_settings(trial)
    if not names:
        return trial
    record = out_dir / "config.yaml"
    if record.is_file():
        return trial.with_compute(**recorded_values(names, read_yaml(record)["compute"]))
    choices = choose_here(trial, clips)
    for name, choice in choices.items():
        logger.info("%s: %s", name, choice)
    return with_choices(trial, choices)


def _precision(machines: Sequence[GpuFeatures | None]) -> Choice:
    without_gpu = ["no GPU" for gpu in machines if gpu is None]
    if without_gpu:
        return Choice("fp32", _counted(without_gpu, machines))
    without_bf16 = ["no bf16" for gpu in machines if not (gpu and gpu.bf16)]
    if without_bf16:
        return Choice("fp16", _counted(without_bf16, machines))
    return Choice("bf16", "the GPU has it")


def _compilation(machines: Sequence[GpuFeatures | None], clips: float) -> Choice:
    problems = ["no GPU" if gpu is None else gpu.compiler_problem for gpu in machines]
    lacking = [problem for problem in problems if problem]
    if lacking:
        return Choice(False, _counted(lacking, machines))
    pays = clips >= COMPILE_FROM_CLIPS
    relation = "at least" if pays else "fewer than"
    return Choice(pays, f"each process trains on {relation} {COMPILE_FROM_CLIPS:,} clips")


def _counted(lacking: Sequence[str], machines: Sequence[object]) -> str:
    """The first reason, and how many machines have one unless all do."""
    if len(lacking) == len(machines):
        return lacking[0]
    return f"{lacking[0]}, on {len(lacking)} of {len(machines)} nodes"
