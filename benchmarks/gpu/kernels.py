"""Attention kernels by shape, and what precision does to the logits."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.device import timed, wait
from benchmarks.parts.gpu_step import CLASSES
from benchmarks.parts.train_step import spectrograms
from focusnet.config import ModelConfig
from focusnet.model.passt import build_model
from focusnet.system.precision import autocast

_SHAPES = ((128, 82), (256, 110), (128, 2))  # batch size, tokens; the last: queries of class tokens


def attention(*, small: bool) -> Iterator[dict[str, Any]]:
    """Forward and backward of 12 heads of 64, by backend; then the first call as torch chooses."""
    if not torch.cuda.is_available():
        yield {"skipped": "no GPU here"}
        return
    for batch, tokens in _SHAPES:
        for backend in (
            SDPBackend.FLASH_ATTENTION,
            SDPBackend.CUDNN_ATTENTION,
            SDPBackend.EFFICIENT_ATTENTION,
            SDPBackend.MATH,
        ):
            found = {"batch": batch, "tokens": tokens, "backend": backend.name}
            try:
                yield found | _attention(batch, tokens, backend)
            except RuntimeError as error:
                yield found | {"error": str(error)[:200]}
    code = "from benchmarks.gpu.kernels import first_calls; print(first_calls())"
    for last in ("0", "1"):
        environment = {**os.environ, "TORCH_CUDNN_SDPA_DEPRIORITIZED": last}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        yield {"cudnn_last": last == "1", "first_calls_s": done.stdout.strip().splitlines()[-1]}


def first_calls() -> list[float]:
    """Seconds of the first forward and backward of each shape, as torch chooses the kernel."""
    torch.zeros(1, device="cuda") @ torch.zeros(1, 1, device="cuda")
    seconds = []
    for batch, tokens in _SHAPES:
        queries, keys, values = _inputs(batch, tokens)
        wait()
        began = time.perf_counter()
        F.scaled_dot_product_attention(queries, keys, values).sum().backward()
        wait()
        seconds.append(round(time.perf_counter() - began, 3))
    return seconds


def _attention(batch: int, tokens: int, backend: SDPBackend) -> dict[str, Any]:
    queries, keys, values = _inputs(batch, tokens)
    gradient = torch.randn_like(queries)

    def both() -> None:
        for _ in range(10):
            with sdpa_kernel(backend):
                F.scaled_dot_product_attention(queries, keys, values).backward(gradient)

    began = time.perf_counter()
    with sdpa_kernel(backend):
        F.scaled_dot_product_attention(queries, keys, values).backward(gradient)
    wait()
    first = time.perf_counter() - began
    return {"first_s": round(first, 3), "ms": round(timed(both, 5) * 100, 3)}


def _inputs(batch: int, tokens: int) -> list[torch.Tensor]:
    """Queries, keys and values as the network's projection lays them out."""
    keys = max(tokens, 82)
    packed = torch.randn(batch, keys, 3, 12, 64, device="cuda", dtype=torch.bfloat16)
    parts = [part.transpose(1, 2) for part in packed.unbind(2)]
    parts[0] = parts[0][:, :, :tokens]
    return [part.detach().requires_grad_() for part in parts]


def logits(*, small: bool) -> Iterator[dict[str, Any]]:
    """Logits of half precision, and of half precision with the head in fp32, against fp32.

    The initial head is scaled so that logits have a standard deviation of 3, as after training.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(
        ModelConfig.model_validate({"size": "tiny" if small else "passt_s", "weights": "none"}),
        CLASSES,
        class_tokens_only=True,
    )
    model.to(device).eval()
    spec = spectrograms(16 if small else 512, 138).to(device)
    with torch.no_grad():
        factor = 3 / model(spec)[0].std()
        for parameter in model.head[-1].parameters():
            parameter.mul_(factor)

    def predicted(precision: str, dtype: torch.dtype | None = None) -> np.ndarray:
        context = (
            autocast(device, precision) if dtype is None else torch.autocast(device.type, dtype)
        )
        with torch.inference_mode(), context:
            return model(spec)[0].float().cpu().numpy()

    expected = predicted("fp32")
    for name, found in (
        ("bf16", predicted("bf16")),
        ("fp16", predicted("", torch.float16)),
    ):
        top = np.sort(found, axis=1)
        yield {
            "precision": name,
            "largest_difference": float(np.abs(found - expected).max()),
            "spread_of_logits": float(expected.std()),
            "tied_top": float((top[:, -1] == top[:, -2]).mean()),
            "other_top": float((found.argmax(1) != expected.argmax(1)).mean()),
        }
