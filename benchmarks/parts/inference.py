"""Measures evaluation and template logits: front end and PaSST-S without gradients.

The baseline is the validation step of the CP-JKU code base: hear21passt's front end and model in
fp32, in batches of the training size.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.measure import Row, Work, compare
from benchmarks.parts.data_path import CLASSES
from benchmarks.parts.front_end import RATE, their_mel
from benchmarks.parts.train_step import has_bf16_tiles, plain_model
from focusnet.config import ModelConfig
from focusnet.mel import LogMel
from focusnet.model.passt import build_model
from focusnet.training.batches import ClipBatches
from focusnet.training.loop import predict_logits


def measure(*, quick: bool = False, clips: int = 16, rounds: int = 5) -> list[Row]:
    """The rows of this part."""
    if quick:
        clips, rounds = 4, 2
    rows = []
    for precision in ("fp32", "bf16"):
        settings: dict[str, Any] = {"clips": clips, "precision": precision}
        ours, baseline, ratio = compare(our_logits, plain_logits, settings, rounds=rounds)
        tiles = precision == "fp32" or has_bf16_tiles()
        rows.append(
            Row(
                what=f"evaluation and logits, PaSST-S, {precision}",
                unit="clips per CPU-second",
                how=f"from stored 44.1 kHz clips to logits, {clips} clips, 1 thread, {rounds} "
                "rounds; baseline: hear21passt's front end and model, fp32"
                + ("" if tiles else "; torch finds no AMX on this CPU"),
                ours=ours,
                baseline=baseline,
                ratio=ratio,
            )
        )
    return rows


def our_logits(clips: int, precision: str, size: str = "passt_s") -> Work:
    """``predict_logits`` as in a trial."""
    config = ModelConfig.model_validate({"size": size, "weights": "none"})
    model = build_model(config, CLASSES, class_tokens_only=True)
    mel = LogMel(sample_rate=RATE)
    batches = ClipBatches(
        stored_clips(clips),
        1 / 32768,
        np.arange(clips),
        np.zeros(clips, np.int64),
        batch_size=256,
    )
    cpu = torch.device("cpu")

    def work() -> float:
        predict_logits(model, mel, batches, device=cpu, precision=precision)
        return clips

    return work


def plain_logits(clips: int, precision: str, size: str = "passt_s") -> Work:
    """hear21passt's front end and model in evaluation mode, always in fp32."""
    del precision
    model = plain_model(size).eval()
    mel = their_mel(False)
    waveforms = torch.from_numpy(stored_clips(clips)).float() / 32768

    def work() -> float:
        with torch.no_grad():
            for part in waveforms.split(80):  # the batch size of that code base
                model(mel(part).unsqueeze(1))
        return clips

    return work


def stored_clips(clips: int) -> np.ndarray:
    """(clips, 44100) int16 noise."""
    return np.random.default_rng(0).integers(-3000, 3000, (clips, RATE), dtype=np.int16)
