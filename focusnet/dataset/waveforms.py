"""Decodes the audio of a data set once, into one array that every trial maps.

Decoding and resampling cost more CPU time than anything else, and every trial needs the same
samples. So they are stored once per data set and rate in ``cache/waveforms/<key>/``:
``samples.npy`` (clips, samples) and ``index.json``. The key depends on the names, sizes and times
of the audio files.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from filelock import Timeout

from focusnet.dataset.decoding import Form, common_form, decode_into, read_headers
from focusnet.dataset.layout import Dataset
from focusnet.errors import DataError
from focusnet.system.atomic import new_folder, write_json
from focusnet.system.locks import held
from focusnet.system.processes import WorkerPool, default_workers, run_tasks, worker_processes
from focusnet.system.progress import progress_bar

logger = logging.getLogger(__name__)

_FORMAT = 1  # version of the stored files, part of the key
_CLIPS_PER_TASK = 64
_CLIPS_PER_WORKER = 256  # for fewer, starting another process costs more time than it saves
_SHOWN = 50  # bad clips named in an error; the number of the others follows
_SAMPLES, _INDEX = "samples.npy", "index.json"

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Waveforms:
    """The samples of a data set's training and test clips, all of one length.

    ``samples`` (n, length) is a read-only memory map, int16 or float32; multiplied by ``scale`` it
    is in [-1, 1]. ``position`` has, for each row of ``Dataset.clips``, the row in ``samples``; -1
    for clips that were skipped or are in neither split. ``skipped`` has "name: reason" of each
    skipped clip. ``fingerprint`` depends on the samples and their names, not on the place or time
    of the files.
    """

    samples: np.ndarray
    position: np.ndarray
    skipped: tuple[str, ...]
    sample_rate: int
    fingerprint: str
    scale: float


def open_waveforms(
    dataset: Dataset,
    *,
    sample_rate: int,
    cache: Path,
    on_bad_clip: Literal["error", "skip"],
    workers: int | None = None,
    progress: bool = True,
) -> Waveforms:
    """Map the data set's samples at ``sample_rate`` (Hz); decode them first if they are not cached.

    If several processes call this at once, one decodes and the others wait.

    Args:
        on_bad_clip: a clip is bad if it is missing, empty, corrupt, not mono, not finite, or of
            another rate or length than most.
        workers: processes that decode (default: one per CPU core).
        progress: whether to show progress bars on a terminal.

    Raises:
        DataError: names every bad clip if ``on_bad_clip`` is "error", and in any case if more than
            half of the clips are bad or a class has none left.
    """
    used = np.union1d(dataset.train, dataset.test)
    names = dataset.clips["filename"].iloc[used].tolist()
    folder = Path(cache).absolute() / "waveforms" / _key(dataset.root, names, sample_rate)
    stored = _load(folder)
    if stored is None:
        with _builder_lock(folder):
            stored = _load(folder)
            if stored is None:
                skip = on_bad_clip == "skip"
                _build(folder, dataset.root, names, sample_rate, skip, workers, progress)
                stored = _load(folder)
    if stored is None:
        raise DataError(f"{folder}: cannot be read although it was just written")
    index, samples = stored

    skipped: dict[str, str] = index["skipped"]
    if skipped and on_bad_clip == "error":
        raise _bad_clips(dataset.root, skipped, len(names))
    row_of = {name: row for row, name in enumerate(index["names"]) if name not in skipped}
    position = np.full(len(dataset.clips), -1, np.int64)
    position[used] = [row_of.get(name, -1) for name in names]
    _check_classes(dataset, position, skipped)
    return Waveforms(
        samples=samples,
        position=position,
        skipped=tuple(f"{name}: {reason}" for name, reason in skipped.items()),
        sample_rate=sample_rate,
        fingerprint=index["sha256"],
        scale=1 / 32768 if samples.dtype == np.int16 else 1.0,
    )


def _key(root: Path, names: Sequence[str], sample_rate: int) -> str:
    """Name of the cache folder for the present state of these audio files, at this rate."""
    states: dict[str, tuple[int, int, int]] = {}
    wanted = set(names)
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        prefix = f"{folder}/" if folder else ""
        if not (root / folder).is_dir():
            continue
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if prefix + entry.name in wanted and entry.is_file():
                    state = entry.stat()
                    # The change time as well, because no tool can set it back.
                    times = state.st_mtime_ns, state.st_ctime_ns
                    states[prefix + entry.name] = (state.st_size, *times)
    digest = hashlib.sha256(f"{_FORMAT} {sample_rate}\n".encode())
    digest.update("\n".join(f"{name} {states.get(name)}" for name in names).encode())
    return digest.hexdigest()[:32]


def _load(folder: Path) -> tuple[dict[str, Any], np.ndarray] | None:
    """Index and mapped samples of a cache folder; None if it is missing or damaged."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        samples = np.load(folder / _SAMPLES, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return (index, samples) if len(samples) == len(index["names"]) else None


@contextmanager
def _builder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``; remove the partial folders of builders that were killed."""

    def while_waiting(seconds: float) -> None:
        if not seconds:
            logger.info("Another process is decoding this audio; waiting for it (%s)", folder)

    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(_lock_path(folder), while_waiting=while_waiting))
        except OSError as error:
            raise DataError(f"{folder.parent}: cannot be written: {error}") from None
        for part in folder.parent.glob(".*.part"):
            target = folder.with_name(part.name.split(".")[1])
            if target == folder:
                shutil.rmtree(part, ignore_errors=True)
                continue
            try:
                with held(_lock_path(target), seconds=0):
                    shutil.rmtree(part, ignore_errors=True)
            except Timeout:
                pass  # its builder is alive
        yield


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _build(
    folder: Path,
    root: Path,
    names: Sequence[str],
    sample_rate: int,
    skip: bool,
    workers: int | None,
    progress: bool,
) -> None:
    """Decode the clips into ``folder``, which appears once it is complete."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)  # if it exists, it is damaged
    paths = [str(root / name) for name in names]
    most = -(-len(names) // _CLIPS_PER_WORKER)
    logger.info("Decoding %s clips of %s at %d Hz", f"{len(names):,}", root, sample_rate)
    with worker_processes(min(workers or default_workers(), most)) as pool:
        with progress_bar("Reading headers", len(names), show=progress) as advance:
            headers = run_tasks(pool, read_headers, [(p,) for p in _in_parts(paths)], advance)
        form, bad = common_form(headers, sample_rate)
        if 2 * len(bad) > len(names):
            raise _bad_clips(root, {names[row]: bad[row] for row in sorted(bad)}, len(names))

        good = [row for row in range(len(names)) if row not in bad]
        _check_disk(folder.parent, len(good) * form.clip_bytes)
        try:
            with new_folder(folder) as part:
                array = part / _SAMPLES
                outcomes = _decode(array, [paths[row] for row in good], form, pool, progress)
                digests = {}
                for row, (digest, reason) in zip(good, outcomes, strict=True):
                    if digest is not None:
                        digests[names[row]] = digest
                    elif reason is not None:
                        bad[row] = reason
                skipped = {names[row]: bad[row] for row in sorted(bad)}
                if skipped and (not skip or 2 * len(bad) > len(names)):
                    raise _bad_clips(root, skipped, len(names))
                if folder.name != _key(root, names, sample_rate):
                    raise DataError(f"{root}: its audio changed while it was decoded; run again")
                index = {
                    "root": str(root),
                    "sample_rate": sample_rate,
                    "source_rate": form.source_rate,
                    "dtype": form.dtype,
                    "sha256": _content_hash(form, digests),
                    "names": [names[row] for row in good],  # of all rows, skipped ones included
                    "skipped": skipped,
                }
                write_json(part / _INDEX, index)
        except OSError as error:
            raise DataError(f"{folder.parent}: decoding stopped, nothing kept: {error}") from None
    seconds = time.monotonic() - started
    logger.info("Decoded %s clips in %.1f s (%s)", f"{len(digests):,}", seconds, folder)


def _decode(
    array: Path, paths: Sequence[str], form: Form, pool: WorkerPool | None, progress: bool
) -> list[tuple[str | None, str | None]]:
    """Decode clips into the rows of a new file; (hash, None) or (None, reason) for each clip."""
    empty = np.lib.format.open_memmap(
        array, mode="w+", dtype=np.dtype(form.dtype), shape=(len(paths), form.length)
    )
    start = int(empty.offset)
    step = _CLIPS_PER_TASK * form.clip_bytes
    tasks = [
        (str(array), start + number * step, part, form)
        for number, part in enumerate(_in_parts(paths))
    ]
    with progress_bar("Decoding audio", len(paths), show=progress) as advance:
        return run_tasks(pool, decode_into, tasks, advance)


def _content_hash(form: Form, digests: Mapping[str, str]) -> str:
    # Sorted by name, so that the order of meta.csv does not matter.
    lines = [f"{form.rate} {form.dtype}", *(f"{name} {digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _bad_clips(root: Path, bad: Mapping[str, str], total: int) -> DataError:
    """The error that names bad clips."""
    named = [f"{name}: {reason}" for name, reason in list(bad.items())[:_SHOWN]]
    rest = [f"... and {len(bad) - _SHOWN:,} more"] if len(bad) > _SHOWN else []
    most = 2 * len(bad) > total
    advice = "more than half" if most else "data.on_bad_clip: skip leaves them out"
    lead = f"{root}: {len(bad):,} of {total:,} clips cannot be used ({advice}):"
    return DataError([lead, *named, *rest])


def _check_classes(dataset: Dataset, position: np.ndarray, skipped: Mapping[str, str]) -> None:
    """Raise DataError if a scene of a split has no clip that can be used."""
    problems = []
    for split, rows in (("training", dataset.train), ("test", dataset.test)):
        kept = rows[position[rows] >= 0]
        lost = set(dataset.clips["scene"].iloc[rows]).difference(dataset.clips["scene"].iloc[kept])
        problems += [
            f"{dataset.root}: no {split} clip of '{scene}' can be used" for scene in sorted(lost)
        ]
    if problems:
        raise DataError([*problems, *_bad_clips(dataset.root, skipped, len(position)).problems])


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{folder}: the decoded audio needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are "
            "free; set data.cache (or FOCUSNET_CACHE) to a folder with more room"
        )


def _in_parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[at : at + _CLIPS_PER_TASK] for at in range(0, len(items), _CLIPS_PER_TASK)]
