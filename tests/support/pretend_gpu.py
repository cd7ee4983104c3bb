"""Pretends that there is a GPU: its tensors have shapes, types and a device, but no values.

It shows two faults that otherwise only a real GPU shows: tensors of two devices in one operation,
and values that the CPU reads from the GPU, which blocks the CPU until the GPU catches up. Tensors
on the CPU stay real, so that random decisions are made as usual. What is computed, and how fast,
only a real GPU can tell (``test_gpu.py``). Backward passes cannot run here, because torch's engine
asks the driver.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)


class _RealOnTheCpu(TorchDispatchMode):
    """Computes operations without pretended tensors as usual."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        kwargs.pop("pin_memory", None)
        device = kwargs.get("device")
        pretended = device is not None and torch.device(device).type == "cuda"
        if pretended or any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        with _disable_current_modes():
            return func(*args, **kwargs)


@contextmanager
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Yield the pretended device, which exists until the end of the block."""
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr("torch.Tensor.pin_memory", torch.Tensor.clone)  # the driver pins
    # The driver records, too: what would be recorded is computed each time.
    monkeypatch.setattr("torch.cuda.make_graphed_callables", lambda module, *_, **__: module)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    with FakeTensorMode(allow_non_fake_inputs=True), _RealOnTheCpu():
        yield GPU
