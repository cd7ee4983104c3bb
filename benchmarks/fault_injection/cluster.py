"""Starts a small Ray cluster, one of whose nodes can be killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class RayCluster:
    """A Ray cluster of a head and two nodes with one CPU each, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.address = self._answer()

    def kill_a_node(self) -> bool:
        """Kill a node, as if its machine were preempted; returns whether one was killed."""
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        return self._answer() == "killed"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start a cluster; it stops when the block ends."""
    script = ROOT / "tests" / "support" / "three_nodes.py"
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield RayCluster(process)  # the process ends when its input is closed
