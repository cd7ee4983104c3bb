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
