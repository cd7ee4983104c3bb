"""Runs functions in worker processes that never outlive the process that started them."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from focusnet.errors import DataError
from focusnet.system.progress import Advance


def default_workers() -> int:
    """The number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """Python processes that run functions, one call each at a time.

    Not multiprocessing: a process that it spawns runs the user's script once more unless that has
    an ``if __name__ == "__main__"``, and one that it forks copies torch's threads and file locks.
    """

    def __init__(self, count: int) -> None:
        self._workers = [_start_worker() for _ in range(count)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)  # each waits for the answer of one worker

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call ``function(*arguments)`` in a worker; all of it must be picklable."""
        return self._threads.submit(self._call, function, arguments)

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        task = pickle.dumps((function, arguments))
        worker = self._idle.get()
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            worker.stdin.write(task)
            worker.stdin.flush()
            result, error = pickle.load(worker.stdout)  # noqa: S301 (our own process)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise DataError(
                "a worker process was killed from outside; is there enough memory?"
            ) from None
        finally:
            self._idle.put(worker)
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()
        for worker in self._workers:
            with suppress(OSError), worker:  # closes its pipes
                pass


def _start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "focusnet.system.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@contextmanager
def worker_processes(count: int) -> Iterator[WorkerPool | None]:
    """Yield ``count`` workers for ``run_tasks``; for one, None, which makes it use this process."""
    if count <= 1:
        yield None
        return
    pool = WorkerPool(count)
    try:
        yield pool
    finally:
        pool.close()


def run_tasks(
    pool: WorkerPool | None,
    function: Callable[..., list[Any]],
    tasks: Sequence[tuple[Any, ...]],
    advance: Advance,
) -> list[Any]:
    """Call ``function(*task)`` for each task and join the lists it returns, in the tasks' order.

    ``advance`` is called with the length of each list as it arrives.
    """
    parts: list[list[Any]] = [[] for _ in tasks]
    if pool is None:
        for number, task in enumerate(tasks):
            parts[number] = function(*task)
            advance(len(parts[number]))
    else:
        numbers = {pool.submit(function, *task): number for number, task in enumerate(tasks)}
        for future in as_completed(numbers):
            parts[numbers[future]] = future.result()
            advance(len(future.result()))
    return [item for part in parts for item in part]
