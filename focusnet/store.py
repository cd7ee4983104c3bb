"""What the cache holds, who uses it, and how to be rid of the rest: ``python -m focusnet.store``.

A template lies in ``templates/<key>/`` once it is complete and in ``templates/<key>.building/``
before, where a builder's checkpoint waits for whoever takes over. ``uses/`` in either names the
trials that took it, and ``about.json`` says what it is. All of it changes under the key's lock
only, which falls when its holder dies. Nothing here imports torch: the command answers at once.
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
from pathlib import Path
from typing import Any

from filelock import Timeout

from focusnet.config import cache_folder
from focusnet.system.atomic import write_json
from focusnet.system.locks import held as lock_held
from focusnet.system.units import age_text, size_text

CHECKPOINT = "checkpoint.pt"  # name of a stage's checkpoint file, in the store and of a trial
WEIGHTS = "weights.safetensors"  # what a trial's second stage has trained
ABOUT, USES = "about.json", "uses"
_BUILDING, _REMOVED = ".building", ".removed"
_DAY = 86_400.0

EXAMPLE = """examples:
  python -m focusnet.store list
  python -m focusnet.store remove-unused --dry-run
  python -m focusnet.store remove-unused --unused-for 30 --cache /data/focusnet

A template is unused when the results of all trials that took it are gone, or with --unused-for
when no trial took it for so long. What a process builds right now is left alone. Audio is unused
when its data set is gone or has been decoded anew since. Exit status: 0 done, 2 a mistake."""


def building_folder(store: Path, key: str) -> Path:
    """Where the template of ``key`` is built."""
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
        Timeout: another process has it, and ``wait`` is false.
    """
    store.mkdir(parents=True, exist_ok=True)
    seconds = float("inf") if wait else 0.0
    with lock_held(store / f"{key}.lock", seconds=seconds, while_waiting=while_waiting):
        yield


def record_use(folder: Path, results: Path) -> None:
    """Note in a template's folder that the trial with these ``results`` takes it now."""
    name = hashlib.sha256(str(results).encode()).hexdigest()[:16]
    use = {"results": str(results), "host": socket.gethostname(), "at": time.time()}
    write_json(folder / USES / f"{name}.json", use)


@dataclass(frozen=True)
class Entry:
    """Something in the cache that takes room."""

    folder: Path
    title: str
    size: int  # bytes
    changed: float  # time of its last change, or of its last use if that is later
    users: Counter[str]  # results folders of studies: how many of their trials took it
    unused: str | None  # why nobody needs it


def templates(cache: Path) -> list[Entry]:
    """All templates, complete or not, the largest first."""
    found = []
    for path in (cache / "templates").glob("[!.]*"):
        if path.is_dir():
            try:
                found.append(_template(path))
            except FileNotFoundError:
                continue  # completed or removed while we looked
    return sorted(found, key=lambda entry: (-entry.size, entry.folder.name))


def _template(folder: Path) -> Entry:
    about = _read(folder / ABOUT)
    users: Counter[str] = Counter()
    changed = folder.stat().st_mtime
    for path in (folder / USES).glob("*.json"):
        use = _read(path)
        changed = max(changed, use.get("at", 0.0))
        results = Path(use.get("results", ""))
        # What another machine keeps on a disk of its own cannot be seen from here.
        if results.is_dir() or use.get("host") != socket.gethostname():
            study = results.parent.parent if results.parent.name == "trials" else results
            users[str(study)] += 1
    what = [f"{about[name]}" for name in ("data", "model") if name in about]
    what += [
        f"{name} {about[name]}" for name in ("subset", "seed", "epochs", "fold") if name in about
    ]
    title = ", ".join(what) or "of unknown settings"
    unused = None if users else "the results of all its trials are gone"
    return Entry(folder, title, _size(folder), changed, users, unused)


def waveforms(cache: Path) -> list[Entry]:
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
            unused = "its data set has been decoded anew"
        newest.add(audio)
        title = f"{audio[0]} at {audio[1]} Hz, {len(index.get('names', ())):,} clips"
        changed = (folder / "index.json").stat().st_mtime
        found.append(Entry(folder, title, _size(folder), changed, Counter(), unused))
    return sorted(found, key=lambda entry: (-entry.size, entry.folder.name))


def remove_unused(
    cache: Path, *, unused_days: int | None = None, dry_run: bool = False
) -> tuple[list[Entry], list[Entry]]:
    """Remove what nobody needs; what went (or would go), and what a process holds just now.

    Args:
        unused_days: templates that no trial took for so many days go too.
    """
    removed, held = [], []
    if not dry_run:
        for path in cache.glob(f"*/.*{_REMOVED}"):  # of a removal that was cut short
            shutil.rmtree(path, ignore_errors=True)
    for find in (templates, waveforms):
        for entry in find(cache):
            if not _removable(entry, unused_days):
                continue
            key = entry.folder.name.removesuffix(_BUILDING)
            try:
                with locked(entry.folder.parent, key, wait=False):
                    # A trial may have taken it before we had the lock.
                    now = {one.folder: one for one in find(cache)}.get(entry.folder)
                    if now is None or not _removable(now, unused_days):
                        continue
                    removed.append(now)
                    if not dry_run:
                        _remove(entry.folder)
            except Timeout:
                held.append(entry)
    return removed, held


def _removable(entry: Entry, unused_days: int | None) -> bool:
    old = unused_days is not None and time.time() - entry.changed > unused_days * _DAY
    return entry.unused is not None or (old and entry.folder.parent.name == "templates")


def _remove(folder: Path) -> None:
    """Rename first, so that a half-removed folder is never taken for a whole one."""
    going = folder.with_name(f".{folder.name}{_REMOVED}")
    shutil.rmtree(going, ignore_errors=True)
    folder.replace(going)
    shutil.rmtree(going, ignore_errors=True)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # replaced while we look
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.store",
        description="Show what FocusNet's cache holds and which studies use it; remove the rest.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|remove-unused")
    listing = commands.add_parser("list", help="templates and decoded audio, size, age, users")
    removing = commands.add_parser("remove-unused", help="remove what nobody needs any more")
    for command in (listing, removing):
        command.add_argument(
            "--cache",
            metavar="DIR",
            help="folder of the cache (default: $FOCUSNET_CACHE, then ~/.cache/focusnet)",
        )
    removing.add_argument("--dry-run", action="store_true", help="say what would go, and stop")
    removing.add_argument(
        "--unused-for",
        type=_days,
        metavar="DAYS",
        help="also templates of existing results that no trial took for so many days",
    )
    options = parser.parse_args(arguments)
    cache = cache_folder(options.cache)
    if not cache.is_dir():
        print(
            f"--cache: {cache} is not a folder; name the one that trial.data.cache or "
            "FOCUSNET_CACHE named in the study, such as --cache /data/focusnet",
            file=sys.stderr,
        )
        return 2
    if options.command == "list":
        _list(cache)
        return 0
    removed, held = remove_unused(cache, unused_days=options.unused_for, dry_run=options.dry_run)
    for entry in removed:
        why = entry.unused or f"no trial took it for {options.unused_for} days"
        print(f"{size_text(entry.size):>9}  {entry.folder.name}  {entry.title}: {why}")
    for entry in held:
        print(f"left: {entry.folder.name}, a process works on it")
    verb = "would free" if options.dry_run else "freed"
    print(f"{verb} {size_text(sum(entry.size for entry in removed))} of {cache}")
    return 0


def _list(cache: Path) -> None:
    for title, entries in (("templates", templates(cache)), ("decoded audio", waveforms(cache))):
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
        # A template that was taken today may be about to be read.
        raise argparse.ArgumentTypeError(f"must be a whole number of days from 1, received {text}")
    return days


if __name__ == "__main__":
    sys.exit(main())
