"""Decoding a data set's audio once, into one array that every trial maps.

Decoding and resampling cost more than anything else on the CPU, and every trial needs the same
samples. So they are made once per (audio, rate), in ``cache/waveforms/<key>/``: ``samples.npy``
(clips, samples) and ``index.json``. The key follows the names, sizes and times of the audio files.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from filelock import Timeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from focusnet.dataset.decoding import Form, common_form, decode_into, read_headers
from focusnet.dataset.layout import Dataset
from focusnet.errors import DataError
from focusnet.system.atomic import new_folder, write_json
from focusnet.system.locks import held
from focusnet.system.processes import Advance, default_workers, run_tasks, worker_processes

_FORMAT = 1  # of the files; a new number makes new ones
_CLIPS_PER_TASK = 64
_CLIPS_PER_WORKER = 256  # below, starting another process costs more than it saves
_NAMED = 50  # bad clips named in an error; the number of the others follows
_SAMPLES, _INDEX = "samples.npy", "index.json"

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Waveforms:
    """The samples of a data set's training and test clips, all of one length.

    ``samples`` (n, length) is a read-only map of a file, int16 or float32; multiplied by ``scale``
    it lies in [-1, 1]. ``position`` holds, for each row of ``Dataset.clips``, the row in
    ``samples``; -1 for clips skipped or in neither split. ``skipped`` has "name: reason" of each
    clip left out. ``fingerprint`` is equal for equal samples under equal names, wherever the files
    lie and whenever they were written.
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
    """Map the data set's samples at ``sample_rate`` (Hz), decoding them first if need be.

    Several processes may call this at once: one decodes, the others wait. Raises DataError that
    names every clip that cannot be used (missing, empty, corrupt, not mono, another rate or length
    than most, not finite), unless ``on_bad_clip`` is "skip"; then too where over half of them are
    bad or a class has none left. ``workers`` defaults to the cores this process may use.
    """
    used = np.union1d(dataset.train, dataset.test)
    names = dataset.clips["filename"].iloc[used].tolist()
    folder = Path(cache).absolute() / "waveforms" / _key(dataset.root, names, sample_rate)
    stored = _load(folder)
    if stored is None:
        with _sole_builder(folder):
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
    """Name of the folder for these audio files as they are now, at this rate."""
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
                    # The change time as well, which no copying tool can set back.
                    times = state.st_mtime_ns, state.st_ctime_ns
                    states[prefix + entry.name] = (state.st_size, *times)
    digest = hashlib.sha256(f"{_FORMAT} {sample_rate}\n".encode())
    digest.update("\n".join(f"{name} {states.get(name)}" for name in names).encode())
    return digest.hexdigest()[:32]


def _load(folder: Path) -> tuple[dict[str, Any], np.ndarray] | None:
    """Index and mapped samples of a finished folder; None where it is absent or damaged."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        samples = np.load(folder / _SAMPLES, mmap_mode="r")
    except (OSError, ValueError):
        return None
    return (index, samples) if len(samples) == len(index["names"]) else None


@contextmanager
def _sole_builder(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, and remove what builders that were killed have left."""

    def while_waiting(seconds: float) -> None:
        if not seconds:
            _say(f"Another process is decoding this audio; waiting for it ({folder})")

    with ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(_lock_path(folder), while_waiting=while_waiting))
        except OSError as error:
            raise DataError(f"{folder.parent}: cannot be written: {error}") from None
        for part in folder.parent.glob(".*.part"):
            builders = folder.with_name(part.name.split(".")[1])
            if builders == folder:
                shutil.rmtree(part, ignore_errors=True)
                continue
            try:
                with held(_lock_path(builders), seconds=0):
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
    """Decode the clips into ``folder``, whole or not at all."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)  # only a damaged one can be there
    paths = [str(root / name) for name in names]
    most = -(-len(names) // _CLIPS_PER_WORKER)
    bar = progress and sys.stderr.isatty()
    if not bar:
        _say(f"Decoding {len(names):,} clips of {root} at {sample_rate} Hz")
    with worker_processes(min(workers or default_workers(), most)) as pool:
        with _advancing("Checking audio", len(names), bar) as advance:
            headers = run_tasks(pool, read_headers, [(p,) for p in _in_parts(paths)], advance)
        form, bad = common_form(headers, sample_rate)
        if 2 * len(bad) > len(names):
            raise _bad_clips(root, {names[row]: bad[row] for row in sorted(bad)}, len(names))

        good = [row for row in range(len(names)) if row not in bad]
        _check_disk(folder.parent, len(good) * form.clip_bytes)
        try:
            with new_folder(folder) as part:
                tasks = _decoding_tasks(part / _SAMPLES, [paths[row] for row in good], form)
                with _advancing("Decoding audio", len(good), bar) as advance:
                    outcomes = run_tasks(pool, decode_into, tasks, advance)
                bad |= {row: why for row, (_, why) in zip(good, outcomes, strict=True) if why}
                skipped = {names[row]: bad[row] for row in sorted(bad)}
                if skipped and (not skip or 2 * len(bad) > len(names)):
                    raise _bad_clips(root, skipped, len(names))
                if folder.name != _key(root, names, sample_rate):
                    raise DataError(f"{root}: its audio changed while it was decoded; run again")
                digests = {names[row]: d for row, (d, _) in zip(good, outcomes, strict=True) if d}
                index = {
                    "root": str(root),
                    "sample_rate": sample_rate,
                    "source_rate": form.source_rate,
                    "dtype": form.dtype,
                    "sha256": _content_hash(form, digests),
                    "names": [names[row] for row in good],  # of the rows, the skipped included
                    "skipped": skipped,
                }
                write_json(part / _INDEX, index)
        except OSError as error:
            raise DataError(f"{folder.parent}: decoding stopped, nothing kept: {error}") from None
    if not bar:
        _say(f"Decoded {len(digests):,} clips in {time.monotonic() - started:.1f} s ({folder})")


def _decoding_tasks(
    array: Path, paths: Sequence[str], form: Form
) -> list[tuple[str, int, Sequence[str], Form]]:
    """Create the array's file, all zeros, and say which clips go to which byte of it."""
    empty = np.lib.format.open_memmap(
        array, mode="w+", dtype=np.dtype(form.dtype), shape=(len(paths), form.length)
    )
    start = int(empty.offset)
    step = _CLIPS_PER_TASK * form.clip_bytes
    parts = enumerate(_in_parts(paths))
    return [(str(array), start + number * step, part, form) for number, part in parts]


def _content_hash(form: Form, digests: Mapping[str, str]) -> str:
    # In the order of the names, so that the order of meta.csv does not matter either.
    lines = [f"{form.rate} {form.dtype}", *(f"{name} {digests[name]}" for name in sorted(digests))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _bad_clips(root: Path, bad: Mapping[str, str], total: int) -> DataError:
    named = [f"{name}: {reason}" for name, reason in list(bad.items())[:_NAMED]]
    rest = [f"... and {len(bad) - _NAMED:,} more"] if len(bad) > _NAMED else []
    much = 2 * len(bad) > total
    advice = "more than half" if much else "data.on_bad_clip: skip would leave them out"
    lead = f"{root}: {len(bad):,} of {total:,} clips cannot be used ({advice}):"
    return DataError([lead, *named, *rest])


def _check_classes(dataset: Dataset, position: np.ndarray, skipped: Mapping[str, str]) -> None:
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


@contextmanager
def _advancing(title: str, total: int, bar: bool) -> Iterator[Advance]:
    """Yield what is to be told of progress: a bar's, or one that ignores it."""
    if not bar:
        yield lambda _: None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as shown:
        task = shown.add_task(title, total=total)
        yield lambda count: shown.advance(task, count)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
