"""Which precision a trial computes in, where its settings leave that to the machine.

Results in bf16 and in fp32 differ. So the choice is made once, before anything is trained, and kept
beside the results: a study's in its space.yaml, a single trial's in its config.yaml.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from focusnet.config import TrialConfig
from focusnet.speed import bf16_gain
from focusnet.stages import pick_device
from focusnet.yaml_file import read_yaml

CLEARLY = 1.2  # times as fast, for a CPU to compute in bf16


@dataclass(frozen=True)
class Choice:
    """A precision, and why it was chosen; as text such as ``bf16 (this GPU has it)``."""

    precision: Literal["fp32", "bf16"]
    why: str

    def __str__(self) -> str:
        return f"{self.precision} ({self.why})"

    def record(self) -> dict[str, str]:
        """For a JSON file."""
        return asdict(self)


def choose_precision(trial: TrialConfig, seconds: float = 5.0) -> Choice:
    """What ``compute.precision: auto`` means for ``trial`` on this machine.

    On a GPU bf16 wherever the GPU itself computes in it. On a CPU bf16 where steps of the trial's
    own network, measured for about ``seconds``, are clearly faster.

    Raises:
        ConfigError: the trial's device is not there.
        DataError: its impulse responses cannot be read.
    """
    if pick_device(trial.compute.device).type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16", "this GPU has it")
        return Choice("fp32", "this GPU has no bf16")
    gain = bf16_gain(trial, seconds)
    if gain < CLEARLY:
        return Choice("fp32", f"bf16 is {gain:.2g} times as fast here")
    return Choice("bf16", f"{gain:.2g} times as fast as fp32 here")


def settle_precision(trial: TrialConfig, out_dir: Path) -> tuple[TrialConfig, str]:
    """``trial`` with a precision that holds for all of it, and how that came about.

    Where ``out_dir`` holds a trial that was begun, its precision; the text is empty where the
    settings name one.

    Raises:
        ConfigError, DataError: as ``choose_precision``.
    """
    if trial.compute.precision != "auto":
        return trial, ""
    begun = out_dir / "config.yaml"
    if begun.is_file():
        precision = read_yaml(begun)["compute"]["precision"]
        choice = Choice(precision, "as this trial was begun")
    else:
        choice = choose_precision(trial)
    return trial.with_precision(choice.precision), str(choice)
