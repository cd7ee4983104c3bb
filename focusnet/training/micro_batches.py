"""Computes the gradients of a batch part by part, for GPUs whose memory cannot hold all of it."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from focusnet.training.batches import Batch
from focusnet.training.recorded_steps import InTwoParts, logits_of

Objective = Callable[[Tensor, Batch, Tensor], dict[str, Tensor]]  # logits, batch, spectrograms


def backward_in_parts(
    network: nn.Module,
    objective: Objective,
    batch: Batch,
    spec: Tensor,
    size: int,
    backward: Callable[[Tensor], None],
) -> dict[str, Tensor]:
    """Add the gradients of the batch's loss to those of the network; returns the loss's terms.

    Equal to one backward pass of the whole batch up to rounding, because each term is a mean over
    clips and nothing in the network depends on the other clips of a batch. Random decisions are
    made once for all parts.

    Args:
        size: clips of a part.
        backward: computes the gradients of a loss, such as Lightning's ``manual_backward``.
    """
    in_two = network if isinstance(network, InTwoParts) else None
    embedded = spec if in_two is None else in_two.embed(spec)
    leaf = embedded.detach().requires_grad_(embedded.requires_grad)
    clips = len(spec)
    means: dict[str, Tensor] = {}
    for start in range(0, clips, size):
        part = slice(start, min(start + size, clips))
        share = (part.stop - part.start) / clips
        output = network(leaf[part]) if in_two is None else in_two.encode(leaf[part])
        terms = objective(logits_of(output), _part_of(batch, part), spec[part])
        with torch.autocast(spec.device.type, enabled=False):
            backward(terms["loss"] * share)
        for name, value in terms.items():
            means[name] = means.get(name, 0.0) + value.detach() * share
    if leaf.grad is not None:
        with torch.autocast(spec.device.type, enabled=False):
            embedded.backward(leaf.grad)
    return means


def _part_of(batch: Batch, part: slice) -> Batch:
    return Batch(
        replace(batch.clips, rows=batch.clips.rows[part]),
        batch.labels[part],
        batch.eligible_for_dir[part],
        batch.template_logits[part],
    )
