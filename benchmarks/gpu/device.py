"""The card itself: what it is, and the rates that it reaches."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.parts.gpu_step import peak_tflops


def device(*, small: bool) -> Iterator[dict[str, Any]]:
    """Name, memory, versions; the rates of a large matrix product and of a large copy."""
    began = time.monotonic()
    on_gpu = torch.cuda.is_available()
    where = torch.device("cuda" if on_gpu else "cpu")
    torch.zeros(1, device=where)
    yield {"first_use_s": round(time.monotonic() - began, 2), "torch": torch.__version__}
    if on_gpu:
        properties = torch.cuda.get_device_properties(0)
        yield {
            "card": properties.name,
            "memory_GB": round(properties.total_memory / 1e9, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "data_sheet_TFLOPs": peak_tflops(properties.name),
        }
    size = 256 if small else 8192
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
        seconds = timed(lambda a=a, b=b: a @ b, 5)
        yield {"product": str(dtype), "TFLOPs": round(2 * size**3 / seconds / 1e12, 1)}
    source = torch.randn(size * size // 8 * (1 if small else 8), device=where)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), 5)
    yield {"copy_TB_per_s": round(2 * source.nbytes / seconds / 1e12, 2)}


def timed(work: Any, times: int) -> float:
    """Seconds that ``work`` takes on the device, the median of ``times`` calls after two more."""
    found = []
    for _ in range(times + 2):
        wait()
        began = time.perf_counter()
        work()
        wait()
        found.append(time.perf_counter() - began)
    return sorted(found[2:])[times // 2]


def wait() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
