"""Starting Ray on this machine, or joining a cluster, without its noise."""

import logging
import math
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focusnet.errors import ConfigError
from focusnet.system.full_disk import disk_full
from study.project import ROOT

_STARTS = 3
# Read by Ray when it is imported or started, so they are set before; a user's own values stay.
_DRIVER_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # as is Ray's default; set, it does not warn
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor looks at the whole machine, others' processes included, and kills early.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new console output prints boxes even when it is silenced
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the template's epochs lack the metric
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # TensorBoard only, see tuning.py
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # interrupts.py has one that also knows SIGTERM
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
}
_WORKER_ENVIRONMENT = {
    # A stopped trial ends its epoch first; its successor must wait for it, not fail.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class Cluster:
    """What the study runs on."""

    dashboard: str | None  # URL
    local: bool
    nodes: tuple[dict[str, float], ...]  # resources of each

    def slots(self, cpu: float, gpu: float) -> int:
        """How many trials fit side by side."""
        return sum(trials_on(node, cpu, gpu) for node in self.nodes)

    def describe(self) -> str:
        cpus = sum(node.get("CPU", 0) for node in self.nodes)
        gpus = sum(node.get("GPU", 0) for node in self.nodes)
        where = "this machine" if self.local else f"a cluster of {len(self.nodes)} node(s)"
        return f"{where}, {cpus:g} CPUs, {gpus:g} GPUs"


def start(address: str | None, dashboard_port: int | None) -> Cluster:
    """Start Ray here, or join it where ``address`` or RAY_ADDRESS says.

    Raises:
        ConfigError: no cluster answers at the address, or the dashboard's port is taken.
    """
    for name, value in _DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    where = address or os.environ.get("RAY_ADDRESS") or "local"
    python_path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    options: dict[str, Any] = {
        "address": where,
        "log_to_driver": False,
        "logging_level": logging.WARNING,
        # Workers find the project by this; nothing is uploaded.
        "runtime_env": {
            "env_vars": {"PYTHONPATH": os.pathsep.join(python_path), **_WORKER_ENVIRONMENT}
        },
    }
    local = where == "local"
    if local:
        _check_port(dashboard_port)
        options |= {
            "include_dashboard": True,
            "dashboard_host": "127.0.0.1",
            "dashboard_port": dashboard_port,
            "object_store_memory": 256 * 2**20,  # trials exchange small dictionaries only
        }
    else:
        _check_address(where)
    if local:
        context = _start_here(options)
    else:
        try:
            context = ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"--address {where}: cannot join a Ray cluster there: {str(error).strip()}"
            ) from None
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # watcher.py says what matters
    _silence_raylet()
    _take_lack_of_memory_for_a_death()
    nodes = tuple(dict(node["Resources"]) for node in ray.nodes() if node["Alive"])
    url = context.dashboard_url
    return Cluster(f"http://{url}" if url else None, local, nodes)


def _start_here(options: dict[str, Any]) -> Any:
    """Start Ray on this machine; on one that is overloaded its parts may miss each other at first.

    Raises:
        ConfigError: it does not start.
    """
    import ray

    for left in range(_STARTS - 1, -1, -1):
        try:
            return ray.init(**options)
        except Exception as error:  # a missing answer of one of its processes is a bare Exception
            ray.shutdown()
            if disk_full(error, Path(tempfile.gettempdir())):
                raise
            if not left:
                raise ConfigError(
                    f"Ray does not start on this machine ({_STARTS} attempts). Is it overloaded, "
                    f"or out of memory? Ray says: {str(error).strip()}"
                ) from error
    raise AssertionError("unreachable")


def _silence_raylet() -> None:
    """Keep Ray from printing a paragraph for each worker that dies.

    It has no setting for that (``log_to_driver`` does not reach it), hence this hold on an
    internal name; where that is gone, the paragraph comes back and nothing else happens.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *args, **kwargs: None


def _take_lack_of_memory_for_a_death() -> None:
    """Let a worker that Ray's memory monitor kills cost one attempt of one trial, as any death.

    On a cluster that was joined the monitor runs. Its error is not a RayActorError, and Tune ends
    the whole search at one that it does not know. Hence this hold on two internal modules; where
    it misses, the study ends with a message and can be resumed.
    """
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import OutOfMemoryError, RayActorError
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        if getattr(module, "RayActorError", None) is RayActorError:  # only isinstance() sees it
            module.RayActorError = (RayActorError, OutOfMemoryError)


def check_request(cluster: Cluster, cpu: float, gpu: float) -> None:
    """Refuse what no node can give; Ray would wait for ever.

    Raises:
        ConfigError: what a trial asks for and what the largest node has.
    """
    problems = []
    for key, unit, amount in (("cpu", "CPU", cpu), ("gpu", "GPU", gpu)):
        most = max((node.get(unit, 0.0) for node in cluster.nodes), default=0.0)
        if amount > most:
            problems.append(
                f"resources.{key}: a trial asks for {amount:g} {unit}, the largest node has "
                f"{most:g}"
            )
    if not problems and cluster.slots(cpu, gpu) == 0:
        problems.append(
            f"resources: a trial asks for {cpu:g} CPU and {gpu:g} GPU, and no node has both"
        )
    if problems:
        raise ConfigError(problems)


def words_of_ray(error: BaseException) -> str | None:
    """What Ray or Tune says went wrong; None for an error that is not theirs."""
    from ray.exceptions import RayError
    from ray.tune.error import TuneError

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, (RayError, TuneError)):
            return str(link).strip()
        link = link.__cause__
    return None


def stop() -> None:
    """Leave Ray; one that was started here ends, a cluster that was joined goes on."""
    import ray

    ray.shutdown()


def trials_on(node: dict[str, float], cpu: float, gpu: float) -> int:
    """How many trials fit on a node with these resources."""
    fits = node.get("CPU", 0.0) / cpu
    if gpu > 0:
        gpus = node.get("GPU", 0.0)
        # A fraction of a GPU is a fraction of one GPU: two thirds fit once on each.
        fits = min(fits, gpus * math.floor(1 / gpu + 1e-9) if gpu < 1 else gpus / gpu)
    return math.floor(fits + 1e-9)


def _check_port(port: int | None) -> None:
    if port is None:
        return
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(f"--dashboard-port {port}: {error.strerror}") from None


def _check_address(address: str) -> None:
    """Ray tries for a long time to reach what is not there; one look says it at once."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # 'auto' and the like
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(
            f"--address {address}: nothing answers there ({error.strerror or error})"
        ) from None
