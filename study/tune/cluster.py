"""Starts Ray on this machine or joins a Ray cluster, and keeps Ray's own output away."""

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

logger = logging.getLogger(__name__)

_STARTS = 3
# Ray reads these when it is imported or started, so they are set before. A user's values win.
_DRIVER_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # Ray's default; it warns if this is not set
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's memory monitor counts the processes of other users too, and kills workers early.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints boxes even with verbose=0
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # epochs of the template lack the metric
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # TensorBoard only, see run_search.py
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals.py handles SIGTERM too
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "30",
}
_WORKER_ENVIRONMENT = {
    # Otherwise a trial without a GPU sees all of them and takes the first.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # A stopped trial ends its epoch first; the next one must wait for that, not fail.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class Cluster:
    """The Ray that a study runs on."""

    dashboard: str | None  # URL
    local: bool  # started here, not joined
    nodes: tuple[dict[str, float], ...]  # resources of each node

    def slots(self, cpu: float, gpu: float) -> int:
        """How many trials fit on the nodes side by side."""
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
        # So that workers find the project; nothing is uploaded.
        "runtime_env": {
            "env_vars": {"PYTHONPATH": os.pathsep.join(python_path), **_WORKER_ENVIRONMENT}
        },
    }
    local = where == "local"
    context = _start_here(options, dashboard_port) if local else _join(options)
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # callback.py logs what matters
    _silence_raylet()
    _treat_out_of_memory_as_worker_death()
    nodes = tuple(dict(node["Resources"]) for node in ray.nodes() if node["Alive"])
    url = context.dashboard_url
    return Cluster(f"http://{url}" if url else None, local, nodes)


def _join(options: dict[str, Any]) -> Any:
    """Join a running cluster; returns Ray's context. Raises ConfigError if none answers."""
    import ray

    _check_address(options["address"])
    try:
        return ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--address {options['address']}: cannot join a Ray cluster there: {str(error).strip()}"
        ) from None


def _start_here(options: dict[str, Any], dashboard_port: int | None) -> Any:
    """Start Ray on this machine; returns Ray's context.

    Tries again, because on an overloaded machine Ray's processes may time out waiting for each
    other. Raises ConfigError if it does not start.
    """
    import ray

    _check_port(dashboard_port)
    options |= {
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": dashboard_port,
        "object_store_memory": 256 * 2**20,  # trials exchange small dictionaries only
    }
    for left in range(_STARTS - 1, -1, -1):
        try:
            return ray.init(**options)
        except Exception as error:  # a timeout of one of its processes is a bare Exception
            ray.shutdown()
            if disk_full(error, Path(tempfile.gettempdir())):
                raise
            if not left:
                raise ConfigError(
                    f"Ray does not start on this machine ({_STARTS} attempts). Is it overloaded, "
                    f"or out of memory? Ray says: {str(error).strip()}"
                ) from error
            logger.debug("Ray did not start, trying again: %s", error)
    raise AssertionError("unreachable")


def _silence_raylet() -> None:
    """Keep Ray from printing a paragraph for each worker that dies.

    Ray has no setting for that (``log_to_driver`` does not cover it), so an internal function is
    replaced. If a later Ray lacks it, the paragraph comes back and nothing else happens.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *args, **kwargs: None


def _treat_out_of_memory_as_worker_death() -> None:
    """Let Tune retry a trial whose worker was killed by Ray's memory monitor.

    The monitor may run on a cluster that was joined. Its OutOfMemoryError is not a RayActorError,
    and Tune ends the whole search at an error that it does not know. So the name is replaced in two
    internal modules. If a later Ray lacks it there, the study ends with a message and can be
    resumed.
    """
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import OutOfMemoryError, RayActorError
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        if getattr(module, "RayActorError", None) is RayActorError:  # used in isinstance() only
            module.RayActorError = (RayActorError, OutOfMemoryError)


def check_request(cluster: Cluster, cpu: float, gpu: float) -> None:
    """Refuse a request that no node can meet; Ray would wait for it for ever.

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


def ray_message(error: BaseException) -> str | None:
    """The message of the Ray or Tune error behind ``error``; None if there is none."""
    from ray.exceptions import RayError
    from ray.tune.error import TuneError

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, (RayError, TuneError)):
            return str(link).strip() or type(link).__name__
        link = link.__cause__
    return None


def stop() -> None:
    """Leave Ray: it ends if it was started here; a cluster that was joined goes on."""
    import ray

    ray.shutdown()


def trials_on(node: dict[str, float], cpu: float, gpu: float) -> int:
    """How many trials fit on a node with these resources."""
    fits = node.get("CPU", 0.0) / cpu
    if gpu > 0:
        gpus = node.get("GPU", 0.0)
        # A fraction must fit on one GPU: two thirds of a GPU fit once on each.
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
    """Raise ConfigError at once if nothing answers; Ray would try for a long time."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # such as 'auto'
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(
            f"--address {address}: nothing answers there ({error.strerror or error})"
        ) from None
