"""Measures a training step on a GPU, from stored clips to the optimiser.

The baseline is a plain script around the CP-JKU loader: clips from worker processes on the host,
hear21passt's front end and PaSST-S in fp32 with its own attention, torch's default Adam. Ours is
the step of a trial. Neither runs in Lightning's loop.

Model FLOPs are those of the matrix products that the step needs, forward and backward, with only
the class tokens in the last block. What a kernel recomputes to save memory does not count.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator

from benchmarks.measure import Row, Spread, Work, alone, compare
from benchmarks.parts.data_path import CLASSES, clip_names, write_clips
from benchmarks.parts.front_end import our_mel, their_mel
from benchmarks.parts.reference_loader import reference_loader
from benchmarks.parts.train_step import patchout, plain_model, step_flops
from focusnet.augment import frequency_mixstyle
from focusnet.config import ModelConfig
from focusnet.loss import FocusNetLoss
from focusnet.model.passt import build_model
from focusnet.system.precision import autocast
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import Batch, ClipBatches
from focusnet.training.gpu_clips import GpuClipCache
from focusnet.training.loop import Stage
from focusnet.training.objectives import FocusObjective

FRAMES = 138  # of a second at 44.1 kHz
_WHAT = "training step on a GPU, PaSST-S"
_UNIT = "clips per second"

# Peak of dense bf16 with fp32 sums in TFLOP/s, from NVIDIA's data sheets (their larger figures are
# for sparse matrices). The first matching name counts.
_PEAKS = (
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H200 NVL", 835.0),
    ("HBM3", 989.0),  # NVIDIA H100 80GB HBM3: the SXM module
    ("H200", 989.0),
    ("A100", 312.0),
)


def measure(*, quick: bool = False, batch_size: int = 128, rounds: int = 5) -> list[Row]:
    """The rows of this part; one that says so where there is no GPU."""
    if not torch.cuda.is_available():
        return [Row(_WHAT, _UNIT, how="", minimum=8.0, skipped="no GPU here")]
    batches = 16
    if quick:
        batches, rounds = 4, 2
    threads = min(8, len(os.sched_getaffinity(0)))
    card = torch.cuda.get_device_name()
    how = (
        f"{card}, 44.1 kHz (80 tokens), batch {batch_size}, {threads} CPU threads, {rounds} rounds"
    )
    measured: dict[str, tuple[Spread, Row]] = {}
    skipped = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        write_clips(Path(folder), batches * batch_size)
        for name, changes in (
            ("plain", {}),
            ("compiled", {"compiled": True}),
            ("plain, audio on the host", {"audio_on_gpu": False}),
        ):
            settings: dict[str, Any] = {
                "folder": Path(folder),
                "batch_size": batch_size,
                "workers": threads - 1,
                **changes,
            }
            try:
                ours, plain, ratio = compare(
                    our_steps, plain_steps, settings, rounds=rounds, threads=threads, clock="wall"
                )
                (memory,) = alone(peak_memory, settings, rounds=1, threads=threads)
            except RuntimeError as error:
                if name != "compiled":
                    raise
                reason = str(error).strip().splitlines()[-1]  # no compiler, for example
                skipped.append(Row(f"{_WHAT}, {name}", _UNIT, how="", skipped=reason))
                continue
            row = Row(
                f"{_WHAT}, {name}",
                _UNIT,
                f"{how}, peak memory {memory.amount / 1e9:.1f} GB; baseline: fp32, eager "
                "attention, default Adam, loader with worker processes",
                ours,
                plain,
                ratio,
                notes={"peak_memory_bytes": memory.amount},
            )
            measured[name] = ours, row
    # What compute.compile: auto takes in a long study is held to the minimum.
    fastest = max(("plain", "compiled"), key=lambda name: _median(measured.get(name)))
    rows = []
    for name, (clips, row) in measured.items():
        asked = name == fastest
        rows.append(replace(row, minimum=8.0) if asked else row)
        rows += utilisation(name, how, card, clips, asked=asked)
    return rows + skipped


def utilisation(name: str, how: str, card: str, clips: Spread, *, asked: bool) -> list[Row]:
    """Row for the share of the card's peak at ``clips`` per second, if the peak is known."""
    peak = peak_tflops(card)
    if peak is None:
        return []
    flops = step_flops("passt_s", FRAMES, class_tokens_only=True)
    achieved = _times(clips, flops / 1e12)
    minimum, aim = (0.25, 0.38) if asked and peak > 900 else (None, None)
    return [
        Row(
            f"share of the GPU's bf16 peak, {name}",
            "TFLOP/s",
            f"{how}; {flops / 1e9:.1f} GFLOP per clip; baseline: the peak in the card's data sheet",
            achieved,
            Spread(peak, peak, peak),
            _times(achieved, 1 / peak),
            minimum=minimum,
            aim=aim,
        )
    ]


def peak_tflops(card: str) -> float | None:
    """Dense bf16 peak of a card by its name; None if it is not in the table."""
    if "MIG" in card:  # a part of a card
        return None
    return next((peak for name, peak in _PEAKS if name in card), None)


def our_steps(
    folder: Path,
    batch_size: int,
    workers: int,
    *,
    audio_on_gpu: bool = True,
    compiled: bool = False,
    size: str = "passt_s",
    device: str = "cuda",
    precision: str = "bf16",
) -> Work:
    """All steps of an epoch of a trial's FocusNet stage; the amount is its clips."""
    del workers  # ours has none
    where = torch.device(device)
    samples = np.load(folder / "samples.npy", mmap_mode="r")
    stage, batches = our_stage(
        samples, batch_size, where, audio_on_gpu=audio_on_gpu, compiled=compiled, size=size
    )
    optimizer = stage.make_optimizer()

    def work() -> float:
        for batch in batches:
            step(stage, optimizer, batch, where, precision)
        _wait(where)
        return len(samples)

    return work


def our_stage(
    samples: NDArray[np.int16],
    batch_size: int,
    device: torch.device,
    *,
    audio_on_gpu: bool = True,
    compiled: bool = False,
    size: str = "passt_s",
) -> tuple[Stage, ClipBatches]:
    """A trial's FocusNet stage on clips (n, samples), with their batches."""
    count = len(samples)
    rows = np.arange(count)
    generator = Generator().manual_seed(0)
    cache = GpuClipCache(samples, rows, device)
    if audio_on_gpu:
        cache.fill()
    batches = ClipBatches(
        samples,
        1 / 32768,
        rows,
        rows % CLASSES,
        batch_size=batch_size,
        generator=generator,
        template_logits=np.zeros((count, CLASSES), np.float32),
        gpu_cache=cache,
    )
    model = build_model(
        ModelConfig.model_validate({"size": size, "weights": "none"}),
        CLASSES,
        patchout_freq=patchout(size),
        time_offset=True,
        class_tokens_only=True,
        compiled=compiled,
    )
    model.generator = generator
    stage = Stage(
        model.to(device).train(),
        our_mel(True).to(device),
        FocusObjective(FocusNetLoss()),
        Augmentation(
            responses=None,
            dir_probability=0.0,
            roll_samples=10_000,
            mixstyle_probability=0.4,
            mixstyle_alpha=0.4,
        ),
        generator,
        optimizer="adam",
        lr=1e-5,
        weight_decay=1e-3,
        lr_factor=lambda epoch: 1.0,
        on_epoch=lambda epoch, means, optimizer: None,
        done=0,
        optimizer_state=None,
    )
    return stage, batches


def step(
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    device: torch.device,
    precision: str,
) -> None:
    """One training step as Lightning takes it."""
    moved = stage.transfer_batch_to_device(batch, device, 0)
    optimizer.zero_grad()
    with autocast(device, precision):
        loss = stage.training_step(moved, 0)
    loss.backward()
    optimizer.step()


def plain_steps(
    folder: Path,
    batch_size: int,
    workers: int,
    *,
    size: str = "passt_s",
    device: str = "cuda",
    **ours: Any,
) -> Work:
    """All steps of an epoch of the plain script; ``ours``, settings of our step, is ignored."""
    del ours
    where = torch.device(device)
    count = len(list((folder / "clips").iterdir()))
    loader = reference_loader(
        folder / "clips",
        clip_names(count),
        np.arange(count) % CLASSES,
        torch.zeros(count, CLASSES),
        batch_size=batch_size,
        roll=10_000,
        responses=None,
        probability=0.0,
        workers=workers,
    )
    model = plain_model(size)
    model.s_patchout_f = patchout(size)
    model.to(where).train()
    mel = their_mel(True).to(where)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, weight_decay=1e-3)

    def work() -> float:
        for waveforms, _, labels, *_ in loader:
            spec = mel(waveforms.squeeze(1).to(where)).unsqueeze(1)
            spec = frequency_mixstyle(spec, 0.4, 0.4)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(spec)[0], labels.to(where))
            loss.backward()
            optimizer.step()
        _wait(where)
        return count

    return work


def peak_memory(**settings: Any) -> Work:
    """Our steps; the amount is the peak of bytes that torch has reserved on the GPU."""
    work: Callable[[], float] = our_steps(**settings)

    def measured() -> float:
        work()
        return torch.cuda.max_memory_reserved()

    return measured


def _median(measured: tuple[Spread, Row] | None) -> float:
    return measured[0].median if measured else 0.0


def _times(spread: Spread, factor: float) -> Spread:
    return Spread(spread.median * factor, spread.low * factor, spread.high * factor)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
