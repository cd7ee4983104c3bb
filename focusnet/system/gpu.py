"""Tells what this machine's GPU can do, and why it cannot be used; without torch on import."""

import importlib.util
import os
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_DEVICE_FILES = Path("/dev")  # has nvidia0 and so on where there is a GPU of NVIDIA
# Torch says these where there is no GPU, or none that this process was given.
_NO_GPU = ("No CUDA GPUs are available", "no CUDA-capable device", "Found no NVIDIA driver")


@dataclass(frozen=True)
class GpuFeatures:
    """What precision and compilation depend on, of a machine with a GPU."""

    bf16: bool  # in hardware
    compiler_problem: str | None  # why torch.compile cannot work; None if nothing is missing
    problem: str | None = None  # why torch cannot compute on it; None if it can


def gpu_features() -> GpuFeatures | None:
    """Of this machine; None where it has no GPU, or none that this process may see."""
    import torch

    problem = gpu_problem()
    if problem is not None:
        return GpuFeatures(False, _compiler_problem(), problem)
    if not torch.cuda.is_available():
        return None
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return GpuFeatures(bf16, _compiler_problem())


def gpu_problem() -> str | None:
    """Why torch cannot compute on the GPU of this machine; None if it can, or there is no GPU.

    Computes something there, because a GPU can be visible and its driver or architecture still not
    be one that this torch was built for.
    """
    import torch

    if not torch.cuda.is_available():
        return _why_not_available()
    try:
        ones = torch.ones(64, 64, device="cuda")
        total = float((ones @ ones).sum())
    except RuntimeError as error:  # torch.AcceleratorError is one
        return f"{_card()}: {first_line(error)}{_architectures()}"
    if total != 64**3:
        return f"{_card()}: a product of two matrices is wrong there"
    return None


def first_line(error: Exception) -> str:
    """What an error of CUDA says, without advice for developers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _why_not_available() -> str | None:
    import torch

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles")
    if hidden or not any(_DEVICE_FILES.glob("nvidia[0-9]*")):
        return None
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was installed without CUDA"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        text = first_line(error)
        return None if any(words in text for words in _NO_GPU) else text
    return None


def _card() -> str:
    import torch

    try:
        major, minor = torch.cuda.get_device_capability()
        return f"{torch.cuda.get_device_name()} (compute capability {major}.{minor})"
    except RuntimeError:
        return "the GPU"


def _architectures() -> str:
    """What this torch was built for, where that is not the GPU's architecture."""
    import torch

    built = torch.cuda.get_arch_list()
    try:
        major, minor = torch.cuda.get_device_capability()
    except RuntimeError:
        return ""
    if not built or any(name.startswith(f"sm_{major}") for name in built):
        return ""
    return (
        f"; torch {torch.__version__} was built for {', '.join(built)}, not for sm_{major}{minor}"
    )


def _compiler_problem() -> str | None:
    """What torch.compile lacks: Triton needs a C compiler to build launchers for its kernels."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "no C compiler found"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's C headers are not installed"
    return None
