"""Asks the nodes of a cluster what their GPUs can do, before the first trial."""

from collections.abc import Sequence

from focusnet.errors import ConfigError
from focusnet.system.gpu import GpuFeatures, gpu_features
from study.space.space import Space
from study.tune.cluster import trials_on


def check_gpus(space: Space) -> list[GpuFeatures | None]:
    """What each node that trials can run on has of a GPU; ``[None]`` where trials use none.

    Each computes something on a GPU, so that one that cannot be used is told once, and not by
    trial after trial.

    Raises:
        ConfigError: a GPU cannot be used, or trials need one that torch does not see.
    """
    device = space.base.compute.device
    if space.resources.gpu == 0 or device == "cpu":
        return [None]
    names, found = _ask_nodes(space)
    problems = {
        name: gpu.problem for name, gpu in zip(names, found, strict=True) if gpu and gpu.problem
    }
    if problems:
        raise ConfigError(
            [
                f"resources.gpu: the GPU of node {name} cannot be used: {problem}; mend that, "
                "leave the node out of the cluster, or set resources.gpu: 0 to use CPUs"
                for name, problem in problems.items()
            ]
        )
    if device == "cuda" and None in found:
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none on a node")
    return found


def _ask_nodes(space: Space) -> tuple[Sequence[str], list[GpuFeatures | None]]:
    """Names of the nodes, and what each sees of a GPU when it is given a trial's resources."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    cpu, gpu = space.resources.cpu, space.resources.gpu
    # Its process ends with it: CUDA keeps GPU memory for as long as a process has used it.
    task = ray.remote(num_cpus=cpu, num_gpus=gpu, max_calls=1)(gpu_features)
    nodes = [
        node for node in ray.nodes() if node["Alive"] and trials_on(node["Resources"], cpu, gpu) > 0
    ]
    asked = [
        task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    ]
    names = [str(node["NodeManagerHostname"]) for node in nodes]
    return (names, ray.get(asked)) if asked else (["of the cluster"], ray.get([task.remote()]))
