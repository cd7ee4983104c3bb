"""PaSST, the network of both stages, and its weights."""

from typing import TYPE_CHECKING, Any

from focusnet.config import ModelConfig

if TYPE_CHECKING:
    from focusnet.model.passt import Passt, build_model

__all__ = ["ModelConfig", "Passt", "build_model"]


def __getattr__(name: str) -> Any:
    # Imported on first use: hear21passt takes seconds, which who only looks for weights can save.
    if name in __all__:
        from focusnet.model import passt

        return getattr(passt, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
