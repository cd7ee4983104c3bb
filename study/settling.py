"""One precision for all trials of a study, and compiled or not, where its space leaves that open.

Both are chosen where the trials run, before the first of them, and recorded in ``space.yaml``: a
study that goes on has them from there, on whatever machine, and measures nothing.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from focusnet.errors import ConfigError
from focusnet.left_open import Choice, begun_with, left_open, plain
from study.ledger.ledger import Ledger
from study.plan.data_size import largest_data
from study.plan.duration import study_work
from study.space.space import Space
from study.tune.cluster import trials_on


def as_begun(space: Space, ledger: Ledger) -> Space:
    """``space`` with what its study was begun with, if it was, where the space does not say."""
    left = left_open(space.base)
    if not left or not ledger.exists():
        return space
    begun = (ledger.space().get("trial") or {}).get("compute") or {}
    return _with(space, begun_with(left, begun))


def settle(space: Space, slots: int) -> tuple[Space, dict[str, Choice]]:
    """``space`` without ``auto``, and the choice for each setting that had it.

    Each node that trials can land on is asked, as a trial would be: what pays on all of them is
    taken. ``slots`` trials run side by side, each in a process that trial after trial reuses.

    Raises:
        ConfigError: what the nodes lack.
    """
    left = left_open(space.base)
    if not left:
        return space, {}
    paths = " and ".join(f"compute.{name}" for name in left)
    print(f"Measuring what {paths} should be here", file=sys.stderr, flush=True)
    shared, _ = study_work(space, largest_data(space))
    chosen = together(_ask_nodes(space, shared.train / slots))
    return _with(space, {name: choice.value for name, choice in chosen.items()}), chosen


def together(answers: Sequence[Mapping[str, Choice]]) -> dict[str, Choice]:
    """One choice out of those of all nodes, for each setting: the plain value if one has it."""
    return {name: _one([answer[name] for answer in answers], plain(name)) for name in answers[0]}


def _one(choices: Sequence[Choice], plain_value: str | bool) -> Choice:
    plainly = [choice for choice in choices if choice.value == plain_value]
    if len(plainly) in (0, len(choices)):
        return choices[0]
    why = f"{plainly[0].why}, on {len(plainly)} of {len(choices)} nodes"
    return replace(plainly[0], why=why)


def _with(space: Space, values: Mapping[str, Any]) -> Space:
    return replace(space, base=space.base.with_compute(**values))


def _ask_nodes(space: Space, clips: float) -> list[dict[str, Choice]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpu, gpu = space.resources.cpu, space.resources.gpu
    settings = space.trial_config(space.first_values()).model_dump()
    # Its process ends with it: a network has been through its memory.
    task = ray.remote(num_cpus=cpu, num_gpus=gpu, max_calls=1)(_choose)
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(settings, clips)
        for node in ray.nodes()
        if node["Alive"] and trials_on(node["Resources"], cpu, gpu) > 0
    ]
    answers = ray.get(asked or [task.remote(settings, clips)])
    problems = [problem for _, found in answers for problem in found]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return [choices for choices, _ in answers]


def _choose(settings: dict[str, Any], clips: float) -> tuple[dict[str, Choice], list[str]]:
    """What the node that runs this chooses, and what it lacks."""
    from focusnet.config import TrialConfig
    from focusnet.errors import FocusNetError
    from focusnet.settling import choose

    try:
        return choose(TrialConfig.model_validate(settings), clips), []
    except FocusNetError as error:
        return {}, list(error.problems)
