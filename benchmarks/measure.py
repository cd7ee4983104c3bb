"""Two sides of a comparison, each in a process of its own, measured in turns.

A process of its own, because a side's allocator, threads and caches must not be the other's. In
turns, because a machine that others use changes under the measurement; then the ratio of one turn
says more than that of two averages. CPU time, wherever a part of the work cannot wait for anything,
because it does not count what others take.
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

Work = Callable[[], float]  # does it once; returns how much that was, in clips for example
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
    """One line of the table: what was measured, both sides, and how.

    ``ratio`` is how many times better ours is. Without a baseline it is None; where a row could not
    be measured, ``skipped`` says why, and there are no figures.
    """

    what: str
    unit: str
    how: str
    ours: Spread | None = None
    baseline: Spread | None = None
    ratio: Spread | None = None
    minimum: float | None = None  # of the ratio
    aim: float | None = None
    skipped: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One turn of one side."""

    cpu: float  # seconds, of all threads and of child processes that have ended
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
    """Amounts per second of both sides, and the ratio of the two within each round.

    See ``in_turns``.
    """
    return rates(in_turns(ours, baseline, settings, rounds=rounds, threads=threads), clock)


def in_turns(
    ours: Setup, baseline: Setup, settings: Mapping[str, Any], *, rounds: int, threads: int = 1
) -> list[tuple[Sample, Sample]]:
    """What each round took ours and the baseline.

    ``ours(**settings)`` and ``baseline(**settings)`` prepare, each in its process; what they return
    is done once unmeasured and then ``rounds`` times. Both must be importable by name.
    """
    with side(ours, settings, threads) as one, side(baseline, settings, threads) as other:
        return [(one(), other()) for _ in range(rounds)]


def rates(pairs: Sequence[tuple[Sample, Sample]], clock: Clock) -> tuple[Spread, Spread, Spread]:
    """Amounts per second of both sides by ``clock``, and their ratio within each round."""
    found = [(_rate(a, clock), _rate(b, clock)) for a, b in pairs]
    ratios = [a / b for a, b in found]
    return Spread.of([a for a, _ in found]), Spread.of([b for _, b in found]), Spread.of(ratios)


def alone(
    setup: Setup, settings: Mapping[str, Any], *, rounds: int, threads: int = 1
) -> list[Sample]:
    """The samples of one side that is compared with nothing."""
    with side(setup, settings, threads) as turn:
        return [turn() for _ in range(rounds)]


def _rate(sample: Sample, clock: str) -> float:
    return sample.amount / (sample.cpu if clock == "cpu" else sample.wall)


@contextmanager
def side(setup: Setup, settings: Mapping[str, Any], threads: int) -> Iterator[Callable[[], Sample]]:
    """A process with one side in it; yields what makes it do its work once, measured."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, setup, dict(settings), threads))
    with _environment(threads):
        process.start()
    there.close()

    def turn() -> Sample:
        here.send("turn")
        return _answer(here)

    try:
        _answer(here)  # it is ready
        yield turn
    finally:
        here.close()  # which ends it
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
    """Pin the threads of libraries that read their number at import."""
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
            connection.send(_measured(work))
    except Exception:
        connection.send(traceback.format_exc())


def _measured(work: Work) -> Sample:
    wall, cpu = time.monotonic(), _cpu_seconds()
    amount = work()
    return Sample(_cpu_seconds() - cpu, time.monotonic() - wall, amount)


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def pin(threads: int) -> None:
    """Keep this process to ``threads`` cores, where the system can."""
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
