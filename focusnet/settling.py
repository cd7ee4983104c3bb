"""What a trial's settings leave to the machine: its precision, and whether it is compiled.

Either changes results. So the choice is made once, before anything is trained, and kept beside the
results: a study's in its space.yaml, a single trial's in its config.yaml.
"""

from pathlib import Path

import torch

from focusnet.config import TrialConfig
from focusnet.errors import FocusNetError
from focusnet.left_open import Choice, begun_with, left_open, with_choices
from focusnet.system.device import pick_device
from focusnet.system.yaml_file import read_yaml
from focusnet.training.speed import bf16_gain, measure_compilation

CLEARLY = 1.2  # times as fast, for a CPU to compute in bf16


def choose(trial: TrialConfig, clips: float, seconds: float = 5.0) -> dict[str, Choice]:
    """What ``auto`` means on this machine for each setting of ``trial.compute`` that has it.

    Precision: on a GPU bf16 wherever the GPU itself computes in it; on a CPU where steps of the
    trial's own network, measured for about ``seconds``, are clearly faster in it. Compilation: on a
    GPU where it saves more time than it takes, measured likewise, for a process that trains on so
    many ``clips``, each counted as often as it is trained on.

    Raises:
        ConfigError: the trial's device is not there.
        DataError: its impulse responses cannot be read.
    """
    chosen = {}
    if trial.compute.precision == "auto":
        chosen["precision"] = _choose_precision(trial, seconds)
        trial = trial.with_compute(precision=chosen["precision"].value)
    if trial.compute.compile == "auto":
        chosen["compile"] = _choose_compilation(trial, clips, seconds)
    return chosen


def _choose_precision(trial: TrialConfig, seconds: float) -> Choice:
    if pick_device(trial.compute.device).type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Choice("bf16", "this GPU has it")
        return Choice("fp32", "this GPU has no bf16")
    gain = bf16_gain(trial, seconds)
    if gain < CLEARLY:
        return Choice("fp32", f"bf16 is {gain:.2g} times as fast here")
    return Choice("bf16", f"{gain:.2g} times as fast as fp32 here")


def _choose_compilation(trial: TrialConfig, clips: float, seconds: float) -> Choice:
    if pick_device(trial.compute.device).type == "cpu":
        return Choice(False, "only a GPU gains from it")
    try:
        found = measure_compilation(trial, torch.device("cuda"), seconds)
    except FocusNetError:
        raise
    except Exception as error:  # no compiler, or one that fails: trials run without it
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Choice(False, f"torch.compile fails here: {cause}")
    saved = clips * (found.plain - found.compiled)
    gain = f"{found.plain / found.compiled:.2g} times as fast"
    time = f"{found.seconds:.0f} s to compile, {max(saved, 0):.0f} s saved"
    return Choice(saved > found.seconds, f"{gain}; {time}")


def settle(
    trial: TrialConfig, out_dir: Path, clips: float
) -> tuple[TrialConfig, dict[str, Choice]]:
    """``trial`` with choices that hold for all of it; where one was begun in ``out_dir``, its own.

    Raises:
        ConfigError, DataError: as ``choose``.
    """
    left = left_open(trial)
    if not left:
        return trial, {}
    begun = out_dir / "config.yaml"
    if begun.is_file():
        values = begun_with(left, read_yaml(begun)["compute"])
        chosen = {name: Choice(value, "as this trial was begun") for name, value in values.items()}
    else:
        chosen = choose(trial, clips)
    return with_choices(trial, chosen), chosen
