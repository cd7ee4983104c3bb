"""Checks that every node of a cluster can run trials: it sees the results and has the project.

Otherwise each trial that Ray places on such a node would fail, one after the other, after minutes.
"""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.atomic import write_text
from study.project import ROOT
from study.remote.files import open_folder
from study.space.domains import Choice
from study.space.space import Space

_SECONDS = 120.0  # a node's first worker process may take a while
_MODULES = ("focusnet", "study", "torch", "lightning", "hear21passt")


def paths_read(space: Space) -> list[str]:
    """Absolute paths that the study's trials read, beside the results and the cache."""
    shared = space.content()["trial"]
    found = []
    for path in ("data.root", "augment.dir_folder", "model.weights"):
        section, name = path.split(".")
        domain = space.domains.get(path)
        values = domain.values if isinstance(domain, Choice) else [shared[section].get(name)]
        found += [value for value in values if value and Path(value).is_absolute()]
    return found


def check_nodes(
    results: Path | str,
    needed: Sequence[str],
    fits: Callable[[dict[str, float]], bool],
    *,
    modules: Sequence[str] = _MODULES,
    seconds: float = _SECONDS,
) -> None:
    """Run a small task on each node where Ray may place trials.

    Args:
        results: the study's folder, which all nodes must share, or its remote address.
        needed: other paths that must exist on each node.
        fits: says from a node's resources whether a trial fits on it.
        modules: modules that a trial imports.
        seconds: how long to wait for the nodes.

    Raises:
        ConfigError: for each node what it lacks (a path, a module), or that it does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = uuid.uuid4().hex
    place = open_folder(results) if isinstance(results, str) else None
    probe = f"{place.url if place else results}/.probe-{token}"
    if place:
        place.write(f".probe-{token}", token.encode())
    else:
        write_text(Path(probe), token)
    try:
        task = ray.remote(num_cpus=0, max_retries=1)(_node_task())
        asked = []
        for node in ray.nodes():
            if node["Alive"] and fits(node["Resources"]):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                on_node = task.options(scheduling_strategy=there)
                name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                answer = on_node.remote(probe, token, list(needed), list(modules))
                asked.append((node["NodeID"], name, answer))
        problems = []
        ray.wait([answer for _, _, answer in asked], num_returns=len(asked), timeout=seconds)
        for node, name, answer in asked:
            try:
                missing = ray.get(answer, timeout=0)
            except ray.exceptions.GetTimeoutError:
                missing = [f"has not answered within {seconds:g} s"]
            except ray.exceptions.RayError as error:
                missing = [f"cannot run a task: {str(error).strip().splitlines()[-1]}"]
            if missing and node not in _alive():
                continue  # it has left the cluster
            problems += [f"node {name}: {problem}" for problem in missing]
    finally:
        if place:
            place.remove([f".probe-{token}"])
        else:
            Path(probe).unlink(missing_ok=True)
    if problems:
        what = "the results folder and the data on shared storage"
        if place:
            what = "access to the results' address (package, credentials), the data"
        advice = f"Every node needs {what}, the project at {ROOT}, and its requirements installed"
        raise ConfigError([*problems, advice])


def _alive() -> set[str]:
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _node_task() -> Any:
    # A nested function is pickled by value, so that it runs where the project is not installed.
    def lacks(probe: str, token: str, needed: list[str], modules: list[str]) -> list[str]:
        """What the node that runs this lacks."""
        import importlib.util
        import os
        import uuid

        problems = []
        folder = os.path.dirname(probe)
        if "://" in probe:
            try:
                import fsspec

                files, path = fsspec.core.url_to_fs(probe)
                if files.cat_file(path).decode() != token:
                    problems.append(f"reaches another {folder}")
                own = f"{path}-{uuid.uuid4().hex}"
                files.pipe_file(own, b"")
                files.rm_file(own)
            except Exception as error:
                said = str(error).strip().partition("\n")[0]
                problems.append(f"cannot use {folder}: {type(error).__name__}: {said}")
        else:
            try:
                with open(probe) as file:
                    seen = file.read() == token
            except OSError:
                seen = False
            if not seen:
                problems.append(f"does not see the results folder {folder}")
            elif not os.access(folder, os.W_OK):
                problems.append(f"may not write to the results folder {folder}")
        problems += [f"has no {path}" for path in needed if not os.path.exists(path)]
        lost = [name for name in modules if importlib.util.find_spec(name) is None]
        if lost:
            problems.append(f"cannot import {', '.join(lost)}")
        return problems

    return lacks
