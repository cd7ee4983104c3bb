"""Records the forward and backward pass of a network on a GPU once, and replays it for each batch.

A step of PaSST-S has about a thousand kernels. The CPU needs longer to issue them one by one than
the GPU to compute them. A CUDA graph is issued as a whole. It holds the same kernels, so results do
not change.
"""

from typing import Protocol, cast

import torch
from torch import Tensor, nn


class _InTwoParts(Protocol):
    """A network whose random decisions are made before a part that can be recorded."""

    def embed(self, spec: Tensor) -> Tensor: ...

    def encode(self, embedded: Tensor) -> tuple[Tensor, Tensor]: ...


class RecordedSteps:
    """Computes a network's logits in training, on a GPU by replaying a recording.

    The first full batch is recorded: all later ones of its shape are replayed, others are computed
    as usual. The gradients of a replay are those of the batch that was replayed last, so each batch
    needs its own backward pass and optimiser step.

    Args:
        network: called with spectrograms (B, 1, n_mels, frames). If it has the methods ``embed``
            and ``encode``, as PaSST has, only ``encode`` is recorded.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._fixed = _FixedPart(network)
        self._recording: nn.Module | None = None
        self._shape: torch.Size | None = None

    def __call__(self, spec: Tensor) -> Tensor:
        """Logits (B, C)."""
        if not spec.is_cuda:
            return logits_of(self._network(spec))
        x = self._fixed.before(spec)
        if self._shape is None:
            self._shape = x.shape  # the first batch of an epoch is full
            self._recording = _record(self._fixed, x)
        if self._recording is None or x.shape != self._shape:
            return self._fixed(x)
        return cast(Tensor, self._recording(x))


def logits_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits in a network's output; PaSST returns its features, too."""
    return output if isinstance(output, Tensor) else output[0]


class _FixedPart(nn.Module):
    """The part of a network that computes the same operations for every batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._in_two = hasattr(network, "encode")

    def before(self, spec: Tensor) -> Tensor:
        """What this part gets."""
        return cast(_InTwoParts, self.network).embed(spec) if self._in_two else spec

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C)."""
        compute = cast(_InTwoParts, self.network).encode if self._in_two else self.network
        return logits_of(compute(x))


def _record(fixed: _FixedPart, x: Tensor) -> nn.Module:
    """``fixed`` as a recording for inputs like ``x``; it shares the weights."""
    sample = torch.empty_like(x, memory_format=torch.contiguous_format).normal_()
    sample.requires_grad_(x.requires_grad)
    # Steps that warm up would change running means.
    buffers = {name: buffer.clone() for name, buffer in fixed.named_buffers()}
    # The cache of converted weights cannot be recorded. Each weight is used once in a step anyway.
    with torch.autocast(
        "cuda",
        dtype=torch.get_autocast_dtype("cuda"),
        enabled=torch.is_autocast_enabled("cuda"),
        cache_enabled=False,
    ):
        # Some weights, such as PaSST's second head, have no effect on the logits.
        recording = torch.cuda.make_graphed_callables(
            _Shell(fixed), (sample,), allow_unused_input=True
        )
    with torch.no_grad():
        for name, buffer in fixed.named_buffers():
            buffer.copy_(buffers[name])
    torch.cuda.empty_cache()  # of the steps that warmed up
    return cast(nn.Module, recording)


class _Shell(nn.Module):
    """Calls a part; torch replaces this one's ``forward`` by the replay."""

    def __init__(self, fixed: _FixedPart) -> None:
        super().__init__()
        self.fixed = fixed

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C)."""
        return cast(Tensor, self.fixed(x))
