"""Settings that a trial may leave to the machine (``auto``), and the choices made for them.

They change results, so a choice holds for all of a trial or study (see ``focusnet.settling``). This
much is needed without torch, which the driver of a study never imports.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from focusnet.config import ComputeConfig, TrialConfig

NAMES = ("precision", "compile")  # of ComputeConfig


@dataclass(frozen=True)
class Choice:
    """A value, and why it was chosen; as text such as ``bf16 (this GPU has it)``."""

    value: str | bool
    why: str

    def __str__(self) -> str:
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"{value} ({self.why})"


def left_open(trial: TrialConfig) -> list[str]:
    """The settings of ``trial.compute`` that say ``auto``."""
    return [name for name in NAMES if getattr(trial.compute, name) == "auto"]


def plain(name: str) -> Any:
    """The value that every machine can: the setting's default."""
    return getattr(ComputeConfig(), name)


def begun_with(names: Iterable[str], compute: Mapping[str, Any]) -> dict[str, Any]:
    """Values as recorded in ``compute``; plain ones of settings that did not exist then."""
    return {name: compute.get(name, plain(name)) for name in names}


def with_choices(trial: TrialConfig, choices: Mapping[str, Choice]) -> TrialConfig:
    """``trial`` with the chosen values."""
    return trial.with_compute(**{name: choice.value for name, choice in choices.items()})
