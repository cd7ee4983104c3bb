"""GPU memory of a training step, and what happens where there is too little."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.device import wait
from benchmarks.gpu.steps import make_step
from benchmarks.parts.gpu_step import CLASSES, FRAMES
from benchmarks.parts.train_step import patchout
from focusnet.config import TrialConfig
from focusnet.training.gpu_memory import too_little_memory, training_memory


def memory(*, small: bool) -> Iterator[dict[str, Any]]:
    """Peak of allocated and of reserved bytes by batch size and precision."""
    for precision in ("bf16", "fp32"):
        for batch_size in (64, 128, 256):
            one = make_step(small=small, batch_size=batch_size, precision=precision)
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            for _ in range(3):
                one()
            wait()
            found: dict[str, Any] = {"precision": precision, "batch_size": batch_size}
            if torch.cuda.is_available():
                clips = 8 * batch_size * 44_100 * 2  # kept on the GPU by the benchmark
                free, total = torch.cuda.mem_get_info()
                reserved = torch.cuda.memory_reserved()
                found |= {
                    "allocated_GB": round((torch.cuda.max_memory_allocated() - clips) / 1e9, 2),
                    "reserved_GB": round((torch.cuda.max_memory_reserved() - clips) / 1e9, 2),
                    "context_GB": round((total - free - reserved) / 1e9, 2),
                }
            yield found
            del one
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def full(*, small: bool) -> Iterator[dict[str, Any]]:
    """What torch says on a card that is capped to 4 GB, with batches of 128."""
    if not torch.cuda.is_available():
        yield {"skipped": "no GPU here"}
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 4e9 / total))
    one = make_step(small=small)
    try:
        for _ in range(3):
            one()
    except torch.OutOfMemoryError as error:
        trial = TrialConfig.model_validate(
            {
                "data": {"root": "none"},
                "features": {"sample_rate": 44_100},
                "augment": {"patchout_freq": patchout("passt_s")},
                "template": {"batch_size": 128},
                "compute": {"precision": "bf16"},
            }
        )
        needed = training_memory(trial, FRAMES, CLASSES)
        share = 4e9 / total
        yield {
            "torch_says": str(error)[:300],
            "a_user_reads": too_little_memory(needed, total=total, others=0, gpu_share=share),
        }
        return
    yield {"message": "it fitted"}
