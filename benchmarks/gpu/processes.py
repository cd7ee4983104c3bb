"""Two trials on one card: what each gets, with and without NVIDIA's MPS."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.device import wait
from benchmarks.gpu.steps import make_step


def neighbours(*, small: bool) -> Iterator[dict[str, Any]]:
    """Clips per second of one process, of two at once, of two under MPS."""
    yield {"processes": 1, "clips_per_s": _together(1, small, dict(os.environ))}
    yield {"processes": 2, "clips_per_s": _together(2, small, dict(os.environ))}
    if not torch.cuda.is_available() or shutil.which("nvidia-cuda-mps-control") is None:
        yield {"processes": 2, "mps": True, "skipped": "nvidia-cuda-mps-control is not here"}
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        environment = {
            **os.environ,
            "CUDA_MPS_PIPE_DIRECTORY": folder,
            "CUDA_MPS_LOG_DIRECTORY": folder,
        }
        subprocess.run(["nvidia-cuda-mps-control", "-d"], env=environment, check=True)
        try:
            rates = _together(2, small, environment)
            yield {"processes": 2, "mps": True, "clips_per_s": rates}
        finally:
            subprocess.run(
                ["nvidia-cuda-mps-control"], input="quit\n", text=True, env=environment, check=False
            )


def _together(count: int, small: bool, environment: dict[str, str]) -> list[int]:
    """Clips per second of ``count`` processes that train at the same time."""
    code = f"from benchmarks.gpu.processes import rate; print(rate({small}))"
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        environment = {**environment, "BENCHMARK_MEET": folder, "BENCHMARK_COUNT": str(count)}
        running = [
            subprocess.Popen(
                [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
            )
            for _ in range(count)
        ]
        return [int(process.communicate()[0].split()[-1]) for process in running]


def rate(small: bool, seconds: float = 6.0) -> int:
    """Clips per second of this process, once all processes are ready."""
    one = make_step(small=small)
    for _ in range(5):
        one()
    wait()
    folder, count = os.environ["BENCHMARK_MEET"], int(os.environ["BENCHMARK_COUNT"])
    open(f"{folder}/{os.getpid()}", "w").close()
    while len(os.listdir(folder)) < count:
        time.sleep(0.01)
    began, steps = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for _ in range(5):
            one()
        wait()
        steps += 5
    return round(steps * (4 if small else 128) / (time.monotonic() - began))
