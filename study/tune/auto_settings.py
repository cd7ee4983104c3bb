"""Replaces ``auto`` in a study's ``compute`` settings by one value for all of its trials.

It is chosen from what the nodes of the cluster can do, before the first trial, and recorded in
``space.yaml``: a resumed study takes it from there, on whatever machine.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from focusnet.auto_settings import Choice, auto_settings, choose, recorded_values
from focusnet.errors import ConfigError
from focusnet.system.gpu import GpuFeatures, gpu_features
from study.ledger.ledger import Ledger
from study.plan.data_size import largest_data
from study.plan.duration import study_work
from study.space.space import Space
from study.tune.cluster import trials_on


def with_recorded(space: Space, ledger: Ledger) -> Space:
    """``space`` with the values that the study was begun with, if it was, in place of ``auto``."""
    names = auto_settings(space.base)
    if not names or not ledger.exists():
        return space
    recorded = (ledger.space().get("trial") or {}).get("compute") or {}
    return _with(space, recorded_values(names, recorded))


def resolve_auto(space: Space, slots: int) -> tuple[Space, dict[str, Choice]]:
    """``space`` without ``auto``, and the choice for each setting that had it.

    ``slots`` trials run side by side, each in a worker process that runs trial after trial.

    Raises:
        ConfigError: trials need a GPU, and torch sees none on a node.
    """
    trial = space.base
    if not auto_settings(trial):
        return space, {}
    uses_gpu = space.resources.gpu > 0 and trial.compute.device != "cpu"
    nodes = _gpus_of_nodes(space) if uses_gpu else [None]
    if trial.compute.device == "cuda" and None in nodes:
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none on a node")
    work, _ = study_work(space, largest_data(space))
    choices = choose(trial, work.train / slots, nodes)
    return _with(space, {name: choice.value for name, choice in choices.items()}), choices


def _with(space: Space, values: Mapping[str, Any]) -> Space:
    return replace(space, base=space.base.with_compute(**values))


def _gpus_of_nodes(space: Space) -> list[GpuFeatures | None]:
    """What each node that trials can run on sees of a GPU, when it is given a trial's resources."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpu, gpu = space.resources.cpu, space.resources.gpu
    # Its process ends with it: CUDA keeps GPU memory for as long as a process has used it.
    task = ray.remote(num_cpus=cpu, num_gpus=gpu, max_calls=1)(gpu_features)
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote()
        for node in ray.nodes()
        if node["Alive"] and trials_on(node["Resources"], cpu, gpu) > 0
    ]
    return ray.get(asked or [task.remote()])
