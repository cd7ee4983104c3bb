"""Saving the state of a stage, and resuming from it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.device import wait
from benchmarks.parts.gpu_step import CLASSES
from focusnet.config import ModelConfig
from focusnet.model.passt import build_model
from focusnet.training.checkpoint import Checkpoint, StageState


def checkpoint(*, small: bool) -> Iterator[dict[str, Any]]:
    """Seconds that training waits for a checkpoint, and its bytes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = "tiny" if small else "passt_s"
    model = build_model(ModelConfig.model_validate({"size": size, "weights": "none"}), CLASSES).to(
        device
    )
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        saved = Checkpoint(Path(folder), {"of": "the benchmark"})
        for epoch in (1, 2, 3):
            state = StageState(
                epoch=epoch,
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                generators={},
                best_score=0.0,
                best=None,
                records=[],
                seconds=0.0,
            )
            wait()
            began = time.monotonic()
            saved.save(state)
            seconds = time.monotonic() - began
            yield {"s": round(seconds, 2), "GB": round(saved.path.stat().st_size / 1e9, 2)}
        began = time.monotonic()
        saved.load()
        yield {"load_s": round(time.monotonic() - began, 2)}


def start(*, small: bool) -> Iterator[dict[str, Any]]:
    """Seconds of a trial's process before it trains, by what it does."""
    size = "tiny" if small else "passt_s"
    code = f"""
import time
began = time.perf_counter()
def told(what):
    global began
    print(what, round(time.perf_counter() - began, 2), sep="=", flush=True)
    began = time.perf_counter()
import torch
told("import_torch_s")
import focusnet.pipeline
told("import_pipeline_s")
from focusnet.config import ModelConfig
from focusnet.model.passt import build_model
model = build_model(ModelConfig.model_validate({{"size": "{size}", "weights": "none"}}), 10)
told("random_weights_s")
if torch.cuda.is_available():
    torch.zeros(1, device="cuda")
    torch.cuda.synchronize()
    told("cuda_context_s")
    model.to("cuda")
    torch.cuda.synchronize()
    told("weights_to_gpu_s")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = (line.split("=") for line in done.stdout.splitlines() if "_s=" in line)
    yield {name: float(seconds) for name, seconds in parts}


def resume(*, small: bool) -> Iterator[dict[str, Any]]:
    """A trial that is killed after its second epoch goes on from there in a new process."""
    del small
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        environment = {**os.environ, "FOCUSNET_CACHE": str(folder / "cache")}
        command = [sys.executable, "-m", "benchmarks.gpu.one_trial", str(folder), device]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as first:
            assert first.stdout is not None
            for line in first.stdout:
                if line.split()[:2] == ["template", "2"]:
                    break
            os.kill(first.pid, signal.SIGKILL)
        began = time.monotonic()
        second = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        )
        epochs = [line for line in second.stdout.splitlines() if line]
        yield {"first_after_the_kill": epochs[0], "last": epochs[-1]}
        yield {"resumed_trial_s": round(time.monotonic() - began, 1)}
