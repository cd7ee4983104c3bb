"""Sizes of PaSST, without torch: for the network, its export, and the estimate of disk space."""

from typing import NamedTuple

PATCH = 16  # bins and frames of a patch, in all sizes


class NetworkSize(NamedTuple):
    """Shape of a PaSST, which has a class token and a distillation token in every size."""

    embedding: int
    depth: int
    heads: int
    stride: int  # of the patches, unless the settings say otherwise


SIZES = {
    "passt_s": NetworkSize(embedding=768, depth=12, heads=12, stride=10),
    "mini": NetworkSize(embedding=96, depth=3, heads=3, stride=16),
    "tiny": NetworkSize(embedding=64, depth=2, heads=2, stride=16),
}


def parameter_count(
    size: str, stride: int | None, max_frames: int, n_mels: int, n_classes: int
) -> int:
    """Number of parameters of a PaSST; the stride of the patches is by default that of its size."""
    shape = SIZES[size]
    width, step = shape.embedding, stride or shape.stride
    patches = width * (PATCH * PATCH + 1)
    # Rows and columns of the position embedding; two tokens with a position each.
    positions = width * (n_mels // step + max_frames // step + 4)
    blocks = shape.depth * (12 * width * width + 13 * width)
    heads = 4 * width + 2 * n_classes * (width + 1)  # two norms, two linear layers
    return patches + positions + blocks + heads
