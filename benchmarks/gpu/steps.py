"""A training step of PaSST-S and of the student: how long, on what, and what compilation costs."""

import itertools
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.device import timed, wait
from benchmarks.parts.gpu_step import FRAMES, our_stage, peak_tflops
from benchmarks.parts.gpu_step import step as take_step
from benchmarks.parts.train_step import step_flops
from focusnet.config import TrialConfig
from focusnet.student.speed import measure_student_speed

Step = Callable[[], None]
_BATCHES = 8  # of noise


def make_step(
    *,
    small: bool,
    batch_size: int = 128,
    precision: str = "bf16",
    tf32: bool = False,
    **how: Any,
) -> Step:
    """A function that takes one training step of a trial's FocusNet stage, on clips of noise."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    size, batch_size = ("tiny", 4) if small else ("passt_s", batch_size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    draw = np.random.default_rng(0)
    clips = draw.integers(-3000, 3000, (_BATCHES * batch_size, 44_100), dtype=np.int16)
    stage, batches = our_stage(clips, batch_size, device, size=size, **how)
    optimizer = stage.make_optimizer()
    endless = itertools.chain.from_iterable(itertools.repeat(batches))
    return lambda: take_step(stage, optimizer, next(endless), device, precision)


def step(*, small: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds, clips per second and share of the card's peak, by variant of the step."""
    variants: tuple[tuple[str, dict[str, Any]], ...] = (
        ("plain", {}),
        ("compiled", {"compiled": True}),
        ("plain, audio on the host", {"audio_on_gpu": False}),
        ("plain, fp32", {"precision": "fp32"}),
        ("plain, fp32 with TF32", {"precision": "fp32", "tf32": True}),
    )
    for name, how in variants:
        began = time.monotonic()
        one = make_step(small=small, **how)
        for _ in range(3):
            one()
        wait()
        first = time.monotonic() - began
        yield {"variant": name, "first_three_s": round(first, 1), **figures(one, small=small)}
        del one
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def figures(one: Step, *, small: bool, batch_size: int = 128) -> dict[str, Any]:
    """What ``step`` yields of one variant that is warm."""
    steps = 2 if small else 20

    def several() -> None:
        for _ in range(steps):
            one()

    seconds = timed(several, 3) / steps
    wait()
    began = time.perf_counter()
    several()
    issued = (time.perf_counter() - began) / steps  # the GPU need not have done them by then
    wait()
    clips = 4 if small else batch_size
    found = {
        "ms": round(seconds * 1e3, 2),
        "issue_ms": round(issued * 1e3, 2),
        "clips_per_s": round(clips / seconds),
    }
    peak = peak_tflops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    if peak and not small:
        tflops = step_flops("passt_s", FRAMES, class_tokens_only=True) * clips / seconds / 1e12
        found |= {"TFLOPs": round(tflops, 1), "share_of_peak": round(tflops / peak, 3)}
    return found


def profile(*, small: bool) -> Iterator[dict[str, Any]]:
    """The kernels that take the most time, how many there are, and the GPU's idle share."""
    for name, compiled in (("plain", False), ("compiled", True)):
        one = make_step(small=small, compiled=compiled)
        for _ in range(5):
            one()
        wait()
        yield {"variant": name, "waits_a_step": _waits(one)}
        steps = 2 if small else 10
        began = time.perf_counter()
        with torch.profiler.profile(acc_events=True) as found:
            for _ in range(steps):
                one()
            wait()
        seconds = time.perf_counter() - began
        rows = [row for row in found.key_averages() if row.self_device_time_total > 0]
        rows.sort(key=lambda row: -row.self_device_time_total)
        kernels = [row for row in rows if row.device_type == torch.autograd.DeviceType.CUDA]
        busy = sum(row.self_device_time_total for row in kernels) / 1e6
        yield {
            "variant": name,
            "kernels_a_step": sum(row.count for row in kernels) // steps,
            "busy_ms": round(busy / steps * 1e3, 2),
            "idle_share_with_profiler": round(1 - busy / seconds, 3),
        }
        for row in kernels[:14]:
            yield {
                "variant": name,
                "kernel": row.key[:110],
                "ms_a_step": round(row.self_device_time_total / steps / 1e3, 3),
                "calls_a_step": row.count / steps,
            }


def _waits(one: Step) -> float:
    """How often the CPU waits for the GPU in a step."""
    if not torch.cuda.is_available():
        return 0
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(4):
                one()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in told) / 4


def student(*, small: bool) -> Iterator[dict[str, Any]]:
    """Clips per second that the default student trains and predicts on."""
    for precision in ("fp32", "bf16"):
        compute = {"precision": precision} if torch.cuda.is_available() else {}
        trial = TrialConfig.model_validate(
            {"data": {"root": "none"}, "student": {}, "compute": compute}
        )
        found = measure_student_speed(trial, 1.0 if small else 3.0)
        yield {
            "precision": precision,
            "train_clips_per_s": round(found.train),
            "predict_clips_per_s": round(found.predict),
            "peak_GB": round(found.memory / 1e9, 2),
        }


def compile(*, small: bool) -> Iterator[dict[str, Any]]:
    """Seconds until the first compiled step is done, with an empty cache and with a filled one."""
    code = (
        "import time; from benchmarks.gpu.steps import make_step; from benchmarks.gpu.device "
        f"import wait; one = make_step(small={small}, compiled={{compiled}}); began = time.time()"
        "; one(); wait(); print(time.time() - began)"
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        for name, compiled in (("plain", False), ("cold", True), ("warm", True)):
            command = [sys.executable, "-c", code.format(compiled=compiled)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            yield {"first_step": name, "s": round(float(done.stdout.split()[-1]), 1)}
