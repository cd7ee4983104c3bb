"""Command that lists and cleans the cache (``python -m focusnet.store``), and the cache's layout.

A template is in ``templates/<key>/`` once it is complete. While it is built it is in
``templates/<key>.building/``, where the checkpoint of a killed builder waits for the next one. Both
have ``uses/``, with a file for each trial that used the template, and ``about.json``, which
describes it. Second stages that teach students are in ``teachers/`` and students in ``students/``
in the same way. They change only under the lock of the key. Nothing here imports torch, so that the
command answers at once.
"""

import argparse
import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout

from focusnet.config import cache_folder
from focusnet.system import locks
from focusnet.system.atomic import write_json
from focusnet.system.units import age_text, size_text

CHECKPOINT = "checkpoint.pt"  # name of a stage's checkpoint file, in the cache and of a trial
WEIGHTS = "weights.safetensors"  # what the second stage of a trial has trained
STUDENT_WEIGHTS = "student.safetensors"  # the student of a trial
ABOUT, USES = "about.json", "uses"
STAGE_FOLDERS = ("templates", "teachers", "students")
_BUILDING, _REMOVED = ".building", ".removed"
_DAY = 86_400.0

EXAMPLE = """examples:
  python -m focusnet.store list
  python -m focusnet.store remove-unused --dry-run
  python -m focusnet.store remove-unused --unused-for 30 --cache /data/focusnet

A template, teacher or student is unused if the results of all trials that used it are gone; with
--unused-for, also if no trial has used it for so many days. Decoded audio is unused if its data set
is gone or has been decoded again. What a running process builds is kept. Exit status: 0 done,
2 wrong options."""


def building_folder(store: Path, key: str) -> Path:
    """The folder in which the template of ``key`` is built."""
    return store / f"{key}{_BUILDING}"


@contextmanager
def locked(
    store: Path,
    key: str,
    *,
    wait: bool = True,
    while_waiting: Callable[[float], None] | None = None,
) -> Iterator[None]:
    """Hold the lock of ``key``; ``while_waiting`` is as in ``focusnet.system.locks``.

    Raises:
        Timeout: another process holds it, and ``wait`` is false.
    """
    store.mkdir(parents=True, exist_ok=True)
    seconds = float("inf") if wait else 0.0
    with locks.held(store / f"{key}.lock", seconds=seconds, while_waiting=while_waiting):
        yield


def record_use(folder: Path, results: Path) -> None:
    """Record in a template's folder that the trial with these ``results`` uses it now."""
    name = hashlib.sha256(str(results).encode()).hexdigest()[:16]
    use = {"results": str(results), "host": socket.gethostname(), "at": time.time()}
    write_json(folder / USES / f"{name}.json", use)


@dataclass(frozen=True)
class CacheEntry:
    """A template, a teacher, a student or a decoded data set in the cache."""

    folder: Path
    title: str
    size: int  # bytes
    changed: float  # time of its last change or use, whichever is later
    users: Counter[str]  # number of trials that used it, by results folder of the study
    unused: str | None  # why it is unused; None if it is in use


def list_stages(cache: Path, folder: str = "templates") -> list[CacheEntry]:
    """All stages of one of ``STAGE_FOLDERS``, complete or not, the largest first."""
    found = []
    for path in (cache / folder).glob("[!.]*"):
        if path.is_dir():
            with suppress(FileNotFoundError):  # completed or deleted since the glob
                found.append(_stage(path))
    return sorted(found, key=lambda entry: (-entry.size, entry.folder.name))


def _stage(folder: Path) -> CacheEntry:
    about = _read(folder / ABOUT)
    users: Counter[str] = Counter()
    changed = folder.stat().st_mtime
    for path in (folder / USES).glob("*.json"):
        use = _read(path)
        changed = max(changed, use.get("at", 0.0))
        results = Path(use.get("results", ""))
        # Results on the disk of another machine may exist although they cannot be seen here.
        if results.is_dir() or use.get("host") != socket.gethostname():
            study = results.parent.parent if results.parent.name == "trials" else results
            users[str(study)] += 1
    what = [f"{about[name]}" for name in ("data", "model") if name in about]
    what += [
        f"{name} {about[name]}"
        for name in ("arm", "subset", "seed", "epochs", "fold")
        if name in about
    ]
    title = ", ".join(what) or "unknown settings"
    unused = None if users else "the results of all trials that used it are gone"
    return CacheEntry(folder, title, _size(folder), changed, users, unused)


def list_waveforms(cache: Path) -> list[CacheEntry]:
    """All decoded data sets, the largest first."""
    folders = [path.parent for path in (cache / "waveforms").glob("[!.]*/index.json")]
    folders.sort(key=lambda folder: (folder / "index.json").stat().st_mtime, reverse=True)
    found, newest = [], set()
    for folder in folders:
        index = _read(folder / "index.json")
        audio = index.get("root", ""), index.get("sample_rate")
        unused = None
        if not Path(audio[0]).is_dir():
            unused = "its data set is gone"
        elif audio in newest:
            unused = "its data set has been decoded again"
        newest.add(audio)
        title = f"{audio[0]} at {audio[1]} Hz, {len(index.get('names', ())):,} clips"
        changed = (folder / "index.json").stat().st_mtime
        found.append(CacheEntry(folder, title, _size(folder), changed, Counter(), unused))
    return sorted(found, key=lambda entry: (-entry.size, entry.folder.name))


def remove_unused(
    cache: Path, *, unused_days: int | None = None, dry_run: bool = False
) -> tuple[list[CacheEntry], list[CacheEntry]]:
    """Delete unused entries; return those deleted, and those kept because a process holds them.

    Args:
        unused_days: also delete stages that no trial has used for so many days.
        dry_run: delete nothing, only return what would be deleted.
    """
    removed, in_use = [], []
    if not dry_run:
        for path in cache.glob(f"*/.*{_REMOVED}"):  # left by a command that was killed
            shutil.rmtree(path, ignore_errors=True)
    listings: list[Callable[[Path], list[CacheEntry]]] = [list_waveforms]
    listings += [partial(list_stages, folder=folder) for folder in STAGE_FOLDERS]
    for list_entries in listings:
        for entry in list_entries(cache):
            if not _removable(entry, unused_days):
                continue
            key = entry.folder.name.removesuffix(_BUILDING)
            try:
                with locked(entry.folder.parent, key, wait=False):
                    # A trial may have used it before we had the lock.
                    now = {one.folder: one for one in list_entries(cache)}.get(entry.folder)
                    if now is None or not _removable(now, unused_days):
                        continue
                    removed.append(now)
                    if not dry_run:
                        _remove(entry.folder)
            except Timeout:
                in_use.append(entry)
    return removed, in_use


def _removable(entry: CacheEntry, unused_days: int | None) -> bool:
    old = unused_days is not None and time.time() - entry.changed > unused_days * _DAY
    return entry.unused is not None or (old and entry.folder.parent.name in STAGE_FOLDERS)


def _remove(folder: Path) -> None:
    """Rename the folder before deleting it, so that a partial one is never taken for complete."""
    renamed = folder.with_name(f".{folder.name}{_REMOVED}")
    shutil.rmtree(renamed, ignore_errors=True)
    folder.replace(renamed)
    shutil.rmtree(renamed, ignore_errors=True)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # replaced in the meantime
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    cache = cache_folder(options.cache)
    if not cache.is_dir():
        print(
            f"--cache: {cache} is not a folder; name the one that trial.data.cache or "
            "FOCUSNET_CACHE named in the study, such as --cache /data/focusnet",
            file=sys.stderr,
        )
        return 2
    if options.command == "list":
        for folder in STAGE_FOLDERS:
            entries = list_stages(cache, folder)
            if entries or folder == "templates":
                _print_entries(folder, cache, entries)
        _print_entries("decoded audio", cache, list_waveforms(cache))
        return 0
    removed, in_use = remove_unused(cache, unused_days=options.unused_for, dry_run=options.dry_run)
    for entry in removed:
        why = entry.unused or f"no trial has used it for {options.unused_for} days"
        print(f"{size_text(entry.size):>9}  {entry.folder.name}  {entry.title}: {why}")
    for entry in in_use:
        print(f"kept: {entry.folder.name}, in use by another process")
    verb = "would free" if options.dry_run else "freed"
    print(f"{verb} {size_text(sum(entry.size for entry in removed))} of {cache}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.store",
        description="List FocusNet's cache and the studies that use it, or delete what is unused.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|remove-unused")
    listing = commands.add_parser(
        "list", help="list templates, teachers, students and decoded audio"
    )
    removing = commands.add_parser("remove-unused", help="delete what no study uses any more")
    for command in (listing, removing):
        command.add_argument(
            "--cache",
            metavar="DIR",
            help="folder of the cache (default: $FOCUSNET_CACHE, then ~/.cache/focusnet)",
        )
    removing.add_argument(
        "--dry-run", action="store_true", help="print what would be deleted, and delete nothing"
    )
    removing.add_argument(
        "--unused-for",
        type=_days,
        metavar="DAYS",
        help="also delete stages that no trial has used for so many days",
    )
    return parser


def _print_entries(title: str, cache: Path, entries: list[CacheEntry]) -> None:
    total = size_text(sum(entry.size for entry in entries))
    print(f"{title} in {cache}: {len(entries)}, {total}")
    for entry in entries:
        age = age_text(time.time() - entry.changed)
        print(f"  {entry.folder.name}  {size_text(entry.size)}, {age} ago: {entry.title}")
        for study, trials in sorted(entry.users.items()):
            print(f"      used by {study} ({trials} trial{'s' * (trials > 1)})")
        if entry.unused is not None:
            print(f"      unused: {entry.unused}")


def _days(text: str) -> int:
    try:
        days = int(text)
    except ValueError:
        days = 0
    if days < 1:
        # A template used today may be about to be read.
        raise argparse.ArgumentTypeError(f"must be a whole number of days from 1, received {text}")
    return days


if __name__ == "__main__":
    sys.exit(main())
