"""Measures how start-up, memory and batches of a trial grow with the data set.

The large data set has nearly as many clips as TAU22: complete tables, an empty file per clip, and a
sparse array of the size of the decoded audio. The small one has a hundredth of that.
"""

import os
import resource
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Row, Spread, Work, alone, compare, worker
from benchmarks.parts.tau_layout import clip_names, write_sparse_cache, write_tables
from focusnet.dataset import waveforms
from focusnet.dataset.layout import read_dataset
from focusnet.system.allocator import keep_freed_memory
from focusnet.training.augmentation import Augmentation
from focusnet.trial.data import TrialData, load_trial_data

RATE = 44_100
LARGE, SMALL = 200_000, 2_000
_BATCH, _BATCHES = 64, 8


def measure(*, quick: bool = False, rounds: int = 5) -> list[Row]:
    """The rows of this part."""
    large, small = LARGE, SMALL
    if quick:
        large, small, rounds = 6_000, 600, 2
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        both = {clips: Path(folder) / str(clips) for clips in (large, small)}
        for clips, root in both.items():
            write_data_set(root, clips)
        rows = [_start_up(both, rounds), _memory(both)]
        rows.append(_step(both, rounds))
        rows.append(_one_copy(Path(folder), clips=300 if quick else SMALL))
    return rows


def write_data_set(root: Path, clips: int) -> None:
    """Write a data set of ``clips`` empty files, and decoded audio in ``root / 'cache'``."""
    write_tables(root, clips)
    (root / "audio").mkdir()
    names = [name for name, *_ in clip_names(clips)]
    for name in names:
        os.close(os.open(root / name, os.O_CREAT | os.O_WRONLY))
    dataset = read_dataset(root)
    used = np.union1d(dataset.train, dataset.test)
    stored = dataset.clips["filename"].iloc[used].tolist()
    key = waveforms._key(dataset.root, stored, RATE)
    write_sparse_cache(root / "cache" / "waveforms" / key, stored, RATE)


def start_up(root: Path) -> Work:
    """Everything that a trial does before its first batch."""

    def work() -> float:
        return float(len(_open(root).train))

    return work


def private_memory(root: Path) -> Work:
    """Opens the data and gathers batches; the amount is the process's own memory in bytes."""
    data = _open(root)
    epoch = _epoch(data)

    def work() -> float:
        epoch()
        return float(_kilobytes("Pss_Anon") * 1024)

    return work


def batches(root: Path) -> Work:
    """Batches of clips from all over the array."""
    keep_freed_memory()
    return _epoch(_open(root))


def large_batches(large: Path, small: Path) -> Work:
    """``batches`` of the large data set."""
    del small
    return batches(large)


def small_batches(large: Path, small: Path) -> Work:
    """``batches`` of the small data set."""
    del large
    return batches(small)


def mapped(path: Path) -> Work:
    """Reads a whole memory-mapped array; the amount is the process's share of it in bytes."""
    samples = np.load(path, mmap_mode="r")

    def work() -> float:
        samples[:, ::2048].sum()  # touches every page
        return float(_kilobytes("Pss", str(path)) * 1024)

    return work


def _start_up(both: dict[int, Path], rounds: int) -> Row:
    large, small = both
    seconds = {
        clips: Spread.of([s.cpu for s in alone(start_up, {"root": root}, rounds=rounds)])
        for clips, root in both.items()
    }
    return Row(
        what=f"start-up of a trial's data, {large:,} clips",
        unit="CPU-seconds",
        how=f"tables, halves, subset, stat of every audio file, index; {rounds} rounds; "
        f"with {small:,} clips: {seconds[small]}",
        ours=seconds[large],
        notes={"small": seconds[small].median},
    )


def _memory(both: dict[int, Path]) -> Row:
    large, small = both
    own = {
        clips: alone(private_memory, {"root": root}, rounds=1)[0].amount / 1e6
        for clips, root in both.items()
    }
    return Row(
        what=f"memory of a trial's process, {large:,} clips",
        unit="MB of private memory, including torch",
        how=f"Pss_Anon after 8 batches of 64; with {small:,} clips: {own[small]:.0f}",
        ours=Spread.of([own[large]]),
        notes={"small": own[small]},
    )


def _step(both: dict[int, Path], rounds: int) -> Row:
    large, small = both
    settings: dict[str, Any] = {"large": both[large], "small": both[small]}
    ours, baseline, ratio = compare(large_batches, small_batches, settings, rounds=rounds)
    return Row(
        what=f"batches with roll, {large:,} clips compared with {small:,}",
        unit="clips per CPU-second",
        how=f"512 clips spread over the array, 1 thread, {rounds} rounds; a ratio of 1 means that "
        "size does not matter",
        ours=ours,
        baseline=baseline,
        ratio=ratio,
    )


def _one_copy(folder: Path, clips: int, processes: int = 4) -> Row:
    path = folder / "shared.npy"
    np.save(path, np.ones((clips, RATE), np.int16))
    with ExitStack() as stack:
        workers: list[Callable[[], Any]] = [
            stack.enter_context(worker(mapped, {"path": path}, 1)) for _ in range(processes)
        ]
        held = sum(measure_one().amount for measure_one in workers)
    return Row(
        what=f"audio in the memory of {processes} concurrent trials",
        unit="copies",
        how="sum of the processes' proportional shares (PSS) of the mapped array, divided by its "
        f"size; baseline: {processes} processes that each read it",
        ours=Spread.of([held / path.stat().st_size]),
        baseline=Spread.of([float(processes)]),
        ratio=Spread.of([processes * path.stat().st_size / held]),
    )


def _open(root: Path) -> TrialData:
    return load_trial_data(
        root,
        subset=100,
        subset_seed=0,
        sample_rate=RATE,
        on_bad_clip="error",
        dir_folder=None,
        cache=root / "cache",
        progress=False,
    )


def _epoch(data: TrialData) -> Work:
    draw = np.random.default_rng(0)
    count = min(_BATCH * _BATCHES, len(data.train))
    rows = np.sort(draw.choice(data.train, count, replace=False))
    generator = torch.Generator().manual_seed(0)
    some = data.batches(rows, _BATCH, generator)
    augmentation = Augmentation(
        responses=None,
        dir_probability=0.0,
        roll_samples=10_000,
        mixstyle_probability=0.0,
        mixstyle_alpha=0.4,
    )

    def work() -> float:
        for batch in some:
            augmentation.waveforms(batch, generator)
        return count

    return work


def _kilobytes(name: str, mapping: str | None = None) -> int:
    """A figure of this process's memory, in total or for one mapped file.

    Systems without /proc give the peak of all memory instead.
    """
    source = Path("/proc/self/smaps_rollup" if mapping is None else "/proc/self/smaps")
    if not source.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total, inside = 0, mapping is None
    for line in source.read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = mapping is None or (bool(rest) and rest[-1] == mapping)
        elif inside and first == f"{name}:":
            total += int(rest[0])
    return total
