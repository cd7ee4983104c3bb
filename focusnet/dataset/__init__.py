"""Reads, checks, splits and decodes a data set in the TAU22 layout."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from focusnet.dataset.layout import Dataset, read_dataset

__all__ = ["Dataset", "read_dataset"]


def __getattr__(name: str) -> Any:
    # Imported on first use, since modules that only read headers do not need pandas.
    if name in __all__:
        from focusnet.dataset import layout

        return getattr(layout, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
