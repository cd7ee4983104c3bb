"""Records the forward and backward pass of PaSST on a GPU once, and replays it for each batch.

A step of PaSST-S has about a thousand kernels, and a CPU can need longer to issue them one by one
than the GPU to compute them. A CUDA graph is issued as a whole. It holds the same kernels, so it
computes the same.
"""

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class InTwoParts(Protocol):
    """A network whose random decisions are made before a part that is the same for every batch."""

    def embed(self, spec: Tensor) -> Tensor:
        """Part with the random decisions."""

    def encode(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Part after it; returns logits and features."""


class RecordedSteps:
    """Computes a network's logits in training, on a GPU by replaying a recording.

    The first batch is recorded. Later ones of its shape are replayed, others are computed as usual.
    A replay overwrites the gradients of the one before, so each batch needs its own backward pass
    and optimiser step.

    Only networks in two parts are recorded, and only their second part. The student is not: its
    kernels are few and long, and its training was not faster with a recording.

    Args:
        network: called with spectrograms (B, 1, n_mels, frames).
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._recording: nn.Module | None = None
        self._shape: torch.Size | None = None

    def __call__(self, spec: Tensor) -> Tensor:
        """Logits (B, C)."""
        network = self._network
        if not (spec.is_cuda and isinstance(network, InTwoParts)):
            return logits_of(network(spec))
        embedded = network.embed(spec)
        if self._recording is None:
            self._shape = embedded.shape  # the first batch of an epoch is full
            self._recording = _record(network, embedded)
        if embedded.shape != self._shape:
            return logits_of(network.encode(embedded))
        return cast(Tensor, self._recording(embedded))


def logits_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits in a network's output; PaSST returns its features, too."""
    return output if isinstance(output, Tensor) else output[0]


class _Encoder(nn.Module):
    """Second part of a network; torch replaces ``forward`` by the replay."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedded: Tensor) -> Tensor:
        """Logits (B, C)."""
        return logits_of(cast(InTwoParts, self.network).encode(embedded))


def _record(network: nn.Module, embedded: Tensor) -> nn.Module:
    """The second part of ``network`` as a recording for inputs like ``embedded``."""
    sample = torch.randn_like(embedded, memory_format=torch.contiguous_format)
    sample.requires_grad_(embedded.requires_grad)
    # The recording keeps its own nodes for the gradients, which torch would warn about.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # The cache of converted weights cannot be recorded. Each weight is used once in a step anyway.
    with torch.autocast(
        "cuda",
        dtype=torch.get_autocast_dtype("cuda"),
        enabled=torch.is_autocast_enabled("cuda"),
        cache_enabled=False,
    ):
        try:
            # Some weights, such as those of the embedding, have no effect here.
            recording = torch.cuda.make_graphed_callables(
                _Encoder(network), (sample,), allow_unused_input=True
            )
        except RuntimeError as error:
            # Ending a recording that ran out of memory fails as well, and hides why.
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            raise
    torch.cuda.empty_cache()  # of the passes that warmed up
    return cast(nn.Module, recording)
