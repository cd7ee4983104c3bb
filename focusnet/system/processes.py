"""Worker processes that leave nothing behind, whatever ends the process that started them."""

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from focusnet.errors import DataError

Advance = Callable[[int], None]


def default_workers() -> int:
    """The CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def worker_processes(count: int) -> Iterator[Executor | None]:
    """Yield ``count`` worker processes for ``run_tasks``; None, which runs them here, for one.

    They are spawned, not forked: a fork would copy torch's threads and hold file locks.
    """
    if count <= 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_tasks(
    pool: Executor | None,
    function: Callable[..., list[Any]],
    tasks: Sequence[tuple[Any, ...]],
    advance: Advance,
) -> list[Any]:
    """Call ``function(*task)`` for each task; the lists it returns joined, in the tasks' order.

    ``advance`` is told the length of each list as it comes in.
    """
    parts: list[list[Any]] = [[] for _ in tasks]
    if pool is None:
        for number, task in enumerate(tasks):
            parts[number] = function(*task)
            advance(len(parts[number]))
    else:
        try:
            with _main_hidden():
                numbers = {pool.submit(function, *task): n for n, task in enumerate(tasks)}
            for future in as_completed(numbers):
                parts[numbers[future]] = future.result()
                advance(len(future.result()))
        except BrokenProcessPool:
            raise DataError(
                "a worker process was killed from outside; is there enough memory?"
            ) from None
    return [item for part in parts for item in part]


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Start workers without the user's script, which a spawned process would run once more.

    The tasks do not need it, and a script without ``if __name__ == "__main__"`` would wait in each
    worker for the lock that its first run holds.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that was killed cannot end its workers, and their queue never reports its end.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
