"""Runs trials in processes that are killed at chosen moments, and compares what they leave."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from focusnet.pipeline import TrialResult

EPOCHS = 3
# The server has imported everything and started no thread: processes start fast and do not hang.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["focusnet.pipeline"])


def settings(root: Path, cache: Path) -> dict:
    """A trial of a second or two with every random part on."""
    return {
        "seed": 0,
        "data": {"root": str(root), "cache": str(cache)},
        "augment": {"freq_mask": 16, "patchout_freq": 2, "patchout_time": 1, "roll": 4000},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {
            "epochs": EPOCHS,
            "batch_size": 8,
            "optimizer": "adamw",
            "lr": 5e-3,
            "keep": "best",
            "schedule": {"warmup": 2, "ramp_down_start": 2, "ramp_down_length": 2},
        },
        "compute": {"device": "cpu", "checkpoint_seconds": 0},
    }


# A student of a second or two, for ``settings() | {"student": STUDENT}``.
STUDENT = {
    "network": {"base": 8},
    "features": {
        "sample_rate": 16_000, "n_mels": 32, "n_fft": 1024, "win_length": 800, "hop_length": 320,
    },
    "augment": {"roll": 1600, "freq_mask": 8},
    "epochs": 2,
    "batch_size": 8,
}  # fmt: skip


def content(result: TrialResult, out: Path) -> tuple:
    """All that a trial leaves, without times."""
    epochs = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    for record in epochs:
        del record["seconds"]
    metrics = {name: v for name, v in result.metrics.items() if not name.endswith("seconds")}
    predictions = pd.read_parquet(out / "predictions.parquet").to_csv()
    weights = (out / "weights.safetensors").read_bytes()
    return metrics, epochs, predictions, weights, result.template_reused, result.confusion


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_around(holder: object, name: str, number: int, after: bool) -> None:
    """Kill this process before or after the ``number``-th call of ``holder.name``."""
    original, calls = getattr(holder, name), 0

    def deadly(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == number and not after:
            die()
        outcome = original(*arguments, **named)
        if calls == number:
            die()
        return outcome

    setattr(holder, name, deadly)


def start(target: Callable, *arguments) -> multiprocessing.process.BaseProcess:
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen in 30 s")


def tell(out: Path, record: dict) -> None:
    """A report that writes what it gets to a file that all processes of a trial share."""
    with (out.parent / "told.txt").open("a") as file:
        file.write(f"{record['stage']} {record['epoch']}\n")


def told(out: Path) -> Counter:
    """How often each epoch was reported."""
    return Counter((out.parent / "told.txt").read_text().splitlines())
