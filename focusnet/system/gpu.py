"""Tells what this machine's GPU can do; without torch on import."""

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GpuFeatures:
    """What precision and compilation depend on, of a machine with a GPU."""

    bf16: bool  # in hardware
    compiler_problem: str | None  # why torch.compile cannot work; None if nothing is missing


def gpu_features() -> GpuFeatures | None:
    """Of this machine; None where torch sees no GPU."""
    import torch

    if not torch.cuda.is_available():
        return None
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return GpuFeatures(bf16, _compiler_problem())


def _compiler_problem() -> str | None:
    """What torch.compile lacks: Triton needs a C compiler to build launchers for its kernels."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "no C compiler found"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's C headers are not installed"
    return None
