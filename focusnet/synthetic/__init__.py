"""Generates a synthetic data set in the TAU22 layout, so that a study runs without a download."""

from focusnet.synthetic.generate import ensure_dataset, make_dataset

__all__ = ["ensure_dataset", "make_dataset"]
