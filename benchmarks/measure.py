"""Measures two alternatives in alternating rounds, each in a process of its own.

Separate processes, so that neither uses the other's allocator, threads or caches. Alternating
rounds, because the load of a shared machine changes: the ratio within a round is more reliable than
that of two averages. CPU time wherever the work never waits, because it excludes other processes.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal

Work = Callable[[], float]  # does the work once; returns its amount, such as a number of clips
Setup = Callable[..., Work]
Clock = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of ``values``."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    ``ratio`` says how many times better ours is; it is None without a baseline. A row that could
    not be measured has no figures, and ``skipped`` says why.
    """

    what: str
    unit: str
    how: str
    ours: Spread | None = None
    baseline: Spread | None = None
    ratio: Spread | None = None
    minimum: float | None = None  # required ratio
    aim: float | None = None  # ratio that we aim at
    skipped: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One measurement of one alternative."""

    cpu: float  # seconds of all threads, and of child processes that have ended
    wall: float  # seconds
    amount: float


def compare(
    ours: Setup,
    baseline: Setup,
    settings: Mapping[str, Any],
    *,
    rounds: int,
    threads: int = 1,
    clock: Clock = "cpu",
) -> tuple[Spread, Spread, Spread]:
    """Measure both by ``alternate``; returns the ``rates``."""
    return rates(alternate(ours, baseline, settings, rounds=rounds, threads=threads), clock)


def alternate(
    ours: Setup, baseline: Setup, settings: Mapping[str, Any], *, rounds: int, threads: int = 1
) -> list[tuple[Sample, Sample]]:
    """Measure ours and the baseline in alternating rounds.

    ``ours(**settings)`` and ``baseline(**settings)`` run once, each in its process, and return the
    work. It is done once as a warm-up and then ``rounds`` times. Both must be importable by name.
    """
    with worker(ours, settings, threads) as one, worker(baseline, settings, threads) as other:
        return [(one(), other()) for _ in range(rounds)]


def rates(pairs: Sequence[tuple[Sample, Sample]], clock: Clock) -> tuple[Spread, Spread, Spread]:
    """Amounts per second of both by ``clock``, and their ratio within each round."""
    found = [(_rate(a, clock), _rate(b, clock)) for a, b in pairs]
    ratios = [a / b for a, b in found]
    return Spread.of([a for a, _ in found]), Spread.of([b for _, b in found]), Spread.of(ratios)


def alone(
    setup: Setup, settings: Mapping[str, Any], *, rounds: int, threads: int = 1
) -> list[Sample]:
    """Measure something that has no baseline."""
    with worker(setup, settings, threads) as measure:
        return [measure() for _ in range(rounds)]


def _rate(sample: Sample, clock: str) -> float:
    return sample.amount / (sample.cpu if clock == "cpu" else sample.wall)


@contextmanager
def worker(
    setup: Setup, settings: Mapping[str, Any], threads: int
) -> Iterator[Callable[[], Sample]]:
    """Start a process and set up its work; yields a function that measures the work once."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, setup, dict(settings), threads))
    with _environment(threads):
        process.start()
    there.close()

    def measure() -> Sample:
        here.send("measure")
        return _answer(here)

    try:
        _answer(here)  # wait until it is ready
        yield measure
    finally:
        here.close()  # ends the process
        process.join()


def _answer(connection: Connection) -> Any:
    try:
        answer = connection.recv()
    except EOFError:
        raise RuntimeError("a measured process was killed") from None
    if isinstance(answer, str):
        raise RuntimeError(f"a measured process failed:\n{answer}")
    return answer


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set the number of threads of libraries that read it when they are imported."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, setup: Setup, settings: dict[str, Any], threads: int) -> None:
    import traceback

    try:
        pin(threads)
        work = setup(**settings)
        work()
        connection.send(None)
        while True:
            try:
                connection.recv()
            except EOFError:
                return
            connection.send(_measure(work))
    except Exception:
        connection.send(traceback.format_exc())


def _measure(work: Work) -> Sample:
    wall, cpu = time.monotonic(), _cpu_seconds()
    amount = work()
    return Sample(_cpu_seconds() - cpu, time.monotonic() - wall, amount)


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def pin(threads: int) -> None:
    """Restrict this process to ``threads`` cores, on systems that support it."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
