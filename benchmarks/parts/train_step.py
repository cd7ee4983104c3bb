"""Measures a training step of PaSST-S on a CPU. The baseline is a plain step in fp32.

The plain step is that of a script with hear21passt's model: forward, cross-entropy, backward and
``torch.optim.Adam`` with its defaults, in fp32. Ours is the step of a trial: class tokens only in
the last block, fused Adam, and bf16 autocast if ``compute.precision`` says so.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Row, Work, compare
from focusnet.config import ModelConfig
from focusnet.model.passt import build_model, patch_stride
from focusnet.network_sizes import SIZES
from focusnet.system.allocator import keep_freed_memory
from focusnet.system.precision import autocast

CLASSES = 10
_PATCHOUT = 6  # rows of patches


def measure(*, quick: bool = False, batch_size: int = 8, rounds: int = 5) -> list[Row]:
    """The rows of this part."""
    if quick:
        batch_size, rounds = 2, 2
    rows = []
    for precision in ("fp32", "bf16"):
        settings: dict[str, Any] = {"batch_size": batch_size, "precision": precision}
        ours, baseline, ratio = compare(our_steps, plain_steps, settings, rounds=rounds)
        tiles = precision == "fp32" or has_bf16_tiles()
        rows.append(
            Row(
                what=f"training step, PaSST-S, {precision}",
                unit="clips per CPU-second",
                how=f"44.1 kHz (80 tokens), batch {batch_size}, Adam, 1 thread, {rounds} rounds; "
                "baseline: hear21passt's model in fp32, torch's default Adam"
                + ("" if tiles else "; torch finds no AMX on this CPU"),
                ours=ours,
                baseline=baseline,
                ratio=ratio,
                minimum=2.0 if precision == "bf16" and has_bf16_tiles() else None,
            )
        )
        rows.append(_upper_bound(precision, settings, rounds))
    return rows


def _upper_bound(precision: str, settings: dict[str, Any], rounds: int) -> Row:
    """Compares the step with its matrix products alone, which bound its speed."""
    ours, products, ratio = compare(our_flops, product_flops, settings, rounds=rounds)
    return Row(
        what=f"training step, PaSST-S, {precision}, share of its upper bound",
        unit="GFLOP per CPU-second",
        how="the same step, counted in FLOPs of the matrix products that it needs; baseline: one "
        "such product alone, of the MLP's first layer, in the same precision",
        ours=ours,
        baseline=products,
        ratio=ratio,
    )


def our_flops(batch_size: int, precision: str, size: str = "passt_s", frames: int = 138) -> Work:
    """A trial's training step; the amount is GFLOP of its matrix products."""
    step = our_steps(batch_size, precision, size, frames)
    flops = step_flops(size, frames, class_tokens_only=True)
    return lambda: step() * flops / 1e9


def product_flops(batch_size: int, precision: str, repeats: int = 50) -> Work:
    """Forward of the MLP's first layer on a batch's tokens; the amount is GFLOP."""
    width, tokens = 768, batch_size * 80
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    draw = Generator().manual_seed(0)
    x = torch.randn(tokens, width, generator=draw).to(dtype)
    weight = torch.randn(4 * width, width, generator=draw).to(dtype)

    def work() -> float:
        for _ in range(repeats):
            F.linear(x, weight)
        return repeats * 2 * tokens * width * 4 * width / 1e9

    return work


def step_flops(size: str, frames: int, *, class_tokens_only: bool) -> float:
    """FLOPs of forward and backward for one clip, counted on tensors without values."""
    clips = 2
    model = build_model(
        ModelConfig.model_validate({"size": size, "weights": "none"}),
        CLASSES,
        patchout_freq=patchout(size),
        class_tokens_only=class_tokens_only,
        fused_attention=False,
    )
    model.train()
    without_values = FakeTensorMode(allow_non_fake_inputs=True)
    with without_values, FlopCounterMode(display=False) as counter:
        logits, _ = model(torch.empty(clips, 1, 128, frames))
        logits.sum().backward()
    return counter.get_total_flops() / clips


def has_bf16_tiles() -> bool:
    """Whether torch finds AMX on this CPU, which multiplies bf16 matrices fast."""
    return bool(torch.cpu._is_amx_tile_supported())


def our_steps(batch_size: int, precision: str, size: str = "passt_s", frames: int = 138) -> Work:
    """A trial's training step."""
    keep_freed_memory()
    config = ModelConfig.model_validate({"size": size, "weights": "none"})
    model = build_model(config, CLASSES, patchout_freq=patchout(size), class_tokens_only=True)
    model.generator = Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, weight_decay=1e-3, fused=True)
    return _step(model, optimizer, batch_size, frames, precision)


def plain_steps(batch_size: int, precision: str, size: str = "passt_s", frames: int = 138) -> Work:
    """The training step of a plain script, always in fp32."""
    del precision
    model = plain_model(size)
    model.s_patchout_f = patchout(size)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, weight_decay=1e-3)
    return _step(model, optimizer, batch_size, frames, "fp32")


def plain_model(size: str) -> Any:
    """hear21passt's PaSST in one of our sizes."""
    import hear21passt.models.passt as hear

    warnings.simplefilter("ignore")  # it warns about every clip shorter than 10 s
    hear.first_RUN = False
    embed_dim, depth, heads, _ = SIZES[size]
    config = ModelConfig.model_validate({"size": size, "weights": "none"})
    return hear.PaSST(
        img_size=(128, config.max_frames),
        stride=patch_stride(config),
        num_classes=CLASSES,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=heads,
        distilled=True,
    )


def spectrograms(batch_size: int, frames: int) -> Tensor:
    """Output of the front end; a clip of one second at 44.1 kHz has 138 frames."""
    return torch.randn(batch_size, 1, 128, frames, generator=Generator().manual_seed(0))


def patchout(size: str) -> int:
    """Rows of patches that patchout drops in training."""
    return _PATCHOUT if size == "passt_s" else 0


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    frames: int,
    precision: str,
) -> Work:
    spec = spectrograms(batch_size, frames)
    labels = torch.arange(batch_size) % CLASSES
    model.train()
    model_logits: Callable[[Tensor], tuple[Tensor, Tensor]] = model

    def work() -> float:
        optimizer.zero_grad()
        with autocast(spec.device, precision):
            logits, _ = model_logits(spec)
            loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        return batch_size

    return work
