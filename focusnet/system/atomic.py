"""Writing files so that a crash, a kill or a full disk never leaves half of one behind."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from focusnet.system.full_disk import disk_full


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _telling_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        full = disk_full(error, folder)
        if full is None:
            raise
        raise full from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    Raises:
        DiskFullError: there is no room for it; ``path`` is as it was.
    """
    with _telling_full_disk(path.parent), _replacing(path) as part:
        yield part


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        flush_to_disk(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    flush_to_disk(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` when the block succeeds.

    Where ``path`` exists by then (another process was faster), its content is kept.

    Raises:
        DiskFullError: there is no room for it.
    """
    with _telling_full_disk(path.parent), _new_folder(path) as part:
        yield part


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        for file in part.rglob("*"):
            if file.is_file():
                flush_to_disk(file)
        if not path.exists():
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    flush_to_disk(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as JSON, whole or not at all; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
