"""Ray for one run of a study: started or joined, its nodes checked, left at the end."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from focusnet.config import cache_folder
from focusnet.errors import DiskFullError, FocusNetError
from focusnet.system.full_disk import disk_full
from study.errors import RayFailure
from study.ledger.ledger import Ledger
from study.outputs.provenance import Provenance
from study.plan.disk import check_disk, fullest, needs
from study.space.space import Space
from study.tune import cluster
from study.tune.cluster import Cluster
from study.tune.nodes import check_nodes, paths_read
from study.tune.signals import interrupt_by_signal

logger = logging.getLogger(__name__)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in ``folder``; the one where the command was given may be removed while a study runs.

    Neither Ray nor the imports of a worker process can do without a current folder.
    """
    before = Path.cwd()
    if "FOCUSNET_CACHE" in os.environ:  # may be relative
        os.environ["FOCUSNET_CACHE"] = str(cache_folder(None))
    os.chdir(folder)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.chdir(before)


@contextmanager
def ray_session(
    space: Space, folder: Path, *, address: str | None, dashboard_port: int | None
) -> Iterator[Cluster]:
    """Start Ray, or join the cluster at ``address``, and leave it at the end.

    Raises:
        ConfigError: Ray does not start, or no cluster answers at the address.
        DiskFullError, RayFailure: see ``plain_errors``.
    """
    ray = cluster.start(address, dashboard_port)
    try:
        interrupt_by_signal()  # Ray has set a handler for SIGTERM
        logger.info("Ray      %s", ray.describe())
        if ray.dashboard:
            logger.info(
                "dashboard %s (it asks for the token that `ray get-auth-token` prints)",
                ray.dashboard,
            )
        for node in ray.nodes:
            logger.debug("node     %s", node)
        with plain_errors(space, folder):
            yield ray
    finally:
        cluster.stop()


def check_cluster(ray: Cluster, space: Space, ledger: Ledger, *, ignore_disk: bool) -> int:
    """How many trials will run side by side, once the cluster is found fit for the study.

    Raises:
        ConfigError: no node can hold a trial, a node cannot run one, or a disk is too small.
    """
    resources = space.resources
    cluster.check_request(ray, resources.cpu, resources.gpu)
    slots = ray.slots(resources.cpu, resources.gpu)
    slots = min(slots, resources.max_concurrent or slots)
    logger.debug("slots    %d trials side by side", slots)
    if not ignore_disk:
        check_disk(needs(space, ledger, slots))
    if not ray.local:
        check_nodes(
            ledger.address or ledger.folder,
            paths_read(space),
            lambda node: cluster.trials_on(node, resources.cpu, resources.gpu) > 0,
        )
    return slots


@contextmanager
def outcome_recorded(provenance: Provenance, space: Space, folder: Path) -> Iterator[None]:
    """Record in ``provenance.json`` how the run that has begun there ends."""
    outcome = "failed"
    try:
        with plain_errors(space, folder):
            yield
        outcome = "done"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except DiskFullError:
        outcome = "the disk was full"
        raise
    except RayFailure:
        outcome = "ended by Ray"
        raise
    finally:
        logger.info("end      %s", outcome)
        with suppress(DiskFullError):
            provenance.end(outcome)


@contextmanager
def plain_errors(space: Space, folder: Path) -> Iterator[None]:
    """Find the cause of an error that Ray or another library has wrapped.

    Raises:
        DiskFullError: a disk that the study writes to is full.
        RayFailure: the error comes from Ray itself.
    """
    try:
        yield
    except (FocusNetError, RayFailure):
        raise
    except Exception as error:
        full = disk_full(error, fullest(space, folder))
        if full is not None:
            raise full from None
        message = cluster.ray_message(error)
        if message is not None:
            raise RayFailure(message) from error
        raise
