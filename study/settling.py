"""One precision for all trials of a study, and compiled or not, where its space leaves that open.

Both are chosen where the trials run, before the first of them, and recorded in ``space.yaml``: a
study that goes on has them from there, on whatever machine, and measures nothing.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from focusnet.config import LEFT_TO_THE_MACHINE, ComputeConfig
from focusnet.errors import ConfigError
from study.cluster import trials_on
from study.data_size import largest_data
from study.hours import study_work
from study.ledger import Ledger
from study.space import Space, with_values

Record = dict[str, Any]  # value and why
_PLAIN: dict[str, Any] = {"precision": "fp32", "compile": False}  # what every machine can


def as_begun(space: Space, ledger: Ledger) -> Space:
    """``space`` with what its study was begun with, if it was, where the space does not say."""
    left = _left_open(space)
    if not left or not ledger.exists():
        return space
    begun = (ledger.space().get("trial") or {}).get("compute") or {}
    plain = ComputeConfig()
    return _with(space, {name: begun.get(name, getattr(plain, name)) for name in left})


def settle(space: Space, slots: int) -> tuple[Space, dict[str, Record]]:
    """``space`` without ``auto``, and of each setting that had it the value and why.

    Each node that trials can land on is asked, as a trial would be: what pays on all of them is
    taken. ``slots`` trials run side by side, each in a process that trial after trial reuses.

    Raises:
        ConfigError: what the nodes lack.
    """
    left = _left_open(space)
    if not left:
        return space, {}
    paths = " and ".join(f"compute.{name}" for name in left)
    print(f"Measuring what {paths} should be here", file=sys.stderr, flush=True)
    shared, _ = study_work(space, largest_data(space))
    chosen = together(_ask_nodes(space, shared.train / slots))
    return _with(space, {name: one["value"] for name, one in chosen.items()}), chosen


def together(answers: Sequence[Mapping[str, Record]]) -> dict[str, Record]:
    """One choice out of those of all nodes, for each setting."""
    return {name: _one([answer[name] for answer in answers], _PLAIN[name]) for name in answers[0]}


def shown(value: str | bool) -> str:
    """A value as it stands in a space file."""
    return str(value).lower() if isinstance(value, bool) else value


def _one(choices: Sequence[Record], plain: str | bool) -> Record:
    plainly = [choice for choice in choices if choice["value"] == plain]
    choice = dict((plainly or choices)[0])
    if len(plainly) not in (0, len(choices)):
        choice["why"] += f", on {len(plainly)} of {len(choices)} nodes"
    return choice


def _left_open(space: Space) -> list[str]:
    compute = space.example().compute
    return [name for name in LEFT_TO_THE_MACHINE if getattr(compute, name) == "auto"]


def _with(space: Space, values: Mapping[str, Any]) -> Space:
    paths = {f"compute.{name}": value for name, value in values.items()}
    return replace(space, trial=with_values(space.trial, paths))


def _ask_nodes(space: Space, clips: float) -> list[dict[str, Record]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpu, gpu = space.resources.cpu, space.resources.gpu
    settings = space.example().model_dump()
    # Its process ends with it: a network has been through its memory.
    task = ray.remote(num_cpus=cpu, num_gpus=gpu, max_calls=1)(_choose)
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(settings, clips)
        for node in ray.nodes()
        if node["Alive"] and trials_on(node["Resources"], cpu, gpu) > 0
    ]
    answers: list[dict[str, Any]] = ray.get(asked or [task.remote(settings, clips)])
    problems = [problem for answer in answers for problem in answer.get("problems", [])]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return answers


def _choose(settings: dict[str, Any], clips: float) -> dict[str, Any]:
    """What the node that runs this chooses."""
    from focusnet.config import TrialConfig
    from focusnet.errors import FocusNetError
    from focusnet.settling import choose

    try:
        chosen = choose(TrialConfig.model_validate(settings), clips)
    except FocusNetError as error:
        return {"problems": list(error.problems)}
    return {name: choice.record() for name, choice in chosen.items()}
