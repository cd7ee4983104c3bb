"""PaSST, the network of both stages, and its weights."""

from focusnet.config import ModelConfig
from focusnet.model.passt import Passt, build_model

__all__ = ["ModelConfig", "Passt", "build_model"]
