"""Measures the log-mel front end. The baseline is hear21passt's, which has the same output."""

import contextlib
import io
import warnings
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Row, Work, compare
from focusnet.mel import LogMel
from focusnet.system.allocator import keep_freed_memory

RATE = 44_100


def measure(*, quick: bool = False, batch_size: int = 64, rounds: int = 7) -> list[Row]:
    """The rows of this part."""
    if quick:
        batch_size, rounds = 16, 3
    difference = float((our_mel(False)(noise(4)) - their_mel(False)(noise(4))).abs().max())
    rows = []
    for training in (False, True):
        settings: dict[str, Any] = {"batch_size": batch_size, "training": training}
        ours, baseline, ratio = compare(ours_once, theirs_once, settings, rounds=rounds)
        rows.append(
            Row(
                what=f"log-mel, {'training' if training else 'evaluation'}",
                unit="clips per CPU-second",
                how=f"44.1 kHz, batch {batch_size}, 1 thread, {rounds} rounds; baseline: "
                f"hear21passt's AugmentMelSTFT, largest difference in evaluation {difference:.0e}",
                ours=ours,
                baseline=baseline,
                ratio=ratio,
                minimum=5.0,
                aim=6.0,
                notes={"largest_difference": difference},
            )
        )
    return rows


def ours_once(batch_size: int, training: bool) -> Work:
    """Our log-mel of one batch."""
    keep_freed_memory()
    return _once(our_mel(training), batch_size)


def theirs_once(batch_size: int, training: bool) -> Work:
    """hear21passt's log-mel of one batch."""
    return _once(their_mel(training), batch_size)


def our_mel(training: bool) -> LogMel:
    """Our front end with the settings of the recipe."""
    mel = LogMel(sample_rate=RATE)
    return mel.train(training)


def their_mel(training: bool) -> torch.nn.Module:
    """hear21passt's front end with the settings of the recipe, without its output."""
    from hear21passt.models.preprocess import AugmentMelSTFT

    warnings.filterwarnings("ignore", category=FutureWarning)  # its torch.cuda.amp.autocast
    with contextlib.redirect_stdout(io.StringIO()):
        mel = AugmentMelSTFT(sr=RATE, freqm=48, timem=20, fmax_aug_range=1000)
    return mel.train(training)


def noise(batch_size: int) -> Tensor:
    """Clips of one second."""
    return torch.randn(batch_size, RATE, generator=torch.Generator().manual_seed(0)) * 0.1


def _once(mel: torch.nn.Module, batch_size: int) -> Work:
    waveforms = noise(batch_size)

    def work() -> float:
        with torch.no_grad():
            mel(waveforms)
        return batch_size

    return work
