"""One precision for all trials of a study, where its space leaves that to the machine.

It is chosen where the trials run, before the first of them, and recorded in ``space.yaml``: a study
that goes on has it from there, on whatever machine, and measures nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from focusnet.errors import ConfigError
from study.cluster import trials_on
from study.ledger import Ledger
from study.space import Space, with_values

_PATH = "compute.precision"


def as_begun(space: Space, ledger: Ledger) -> Space:
    """``space`` with the precision that its study was begun with, if it was and does not say."""
    if not _is_open(space) or not ledger.exists():
        return space
    begun = ledger.space().get("trial") or {}
    return _with(space, (begun.get("compute") or {}).get("precision", "fp32"))


def settle_precision(space: Space) -> tuple[Space, dict[str, str] | None]:
    """``space`` with a precision, and what is to be recorded and said of the choice.

    Each node that trials can land on is asked, as a trial would be: bf16 where it pays on all.

    Raises:
        ConfigError: what the nodes lack.
    """
    if not _is_open(space):
        return space, None
    chosen = together(_ask_nodes(space))
    return _with(space, chosen["precision"]), chosen


def together(answers: Sequence[dict[str, str]]) -> dict[str, str]:
    """One choice out of those of all nodes."""
    fp32 = [answer for answer in answers if answer["precision"] == "fp32"]
    choice = dict((fp32 or answers)[0])
    if len(fp32) not in (0, len(answers)):
        choice["why"] += f", on {len(fp32)} of {len(answers)} nodes"
    return choice


def _is_open(space: Space) -> bool:
    return space.example().compute.precision == "auto"


def _with(space: Space, precision: str) -> Space:
    return replace(space, trial=with_values(space.trial, {_PATH: precision}))


def _ask_nodes(space: Space) -> list[dict[str, str]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpu, gpu = space.resources.cpu, space.resources.gpu
    settings = space.example().model_dump()
    # Its process ends with it: a network has been through its memory.
    task = ray.remote(num_cpus=cpu, num_gpus=gpu, max_calls=1)(_choose)
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(settings)
        for node in ray.nodes()
        if node["Alive"] and trials_on(node["Resources"], cpu, gpu) > 0
    ]
    answers: list[dict[str, Any]] = ray.get(asked or [task.remote(settings)])
    problems = [problem for answer in answers for problem in answer.get("problems", [])]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return answers


def _choose(settings: dict[str, Any]) -> dict[str, Any]:
    """What the node that runs this chooses."""
    from focusnet.config import TrialConfig
    from focusnet.errors import FocusNetError
    from focusnet.precision import choose_precision

    try:
        return choose_precision(TrialConfig.model_validate(settings)).record()
    except FocusNetError as error:
        return {"problems": list(error.problems)}
