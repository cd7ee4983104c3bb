"""Files at an fsspec address (``s3://``, ``gs://``, ...), each there whole or not at all.

The edge where fsspec is met. What its file systems raise becomes one error, ``Unreachable``, which
says that trying again may help; at the beginning it becomes a ConfigError, which says what to mend.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from focusnet.errors import ConfigError, DataError, FocusNetError
from study.errors import Unreachable

TEMPLATES = ".templates"  # below the address, for all studies there
# A file appears there when it is complete; elsewhere it is written beside and renamed.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "tos"}
_PUSHED, _PULLED = ".pushed-", ".pulled-"  # begin the names of what is on its way
_AT_ONCE = 8_000_000  # bytes; smaller files are read whole and sent in one request
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_PACKAGES |= dict.fromkeys(("az", "abfs", "abfss"), "adlfs")
# Not the network's fault, and no better when tried again.
_OURS: tuple[type[Exception], ...] = (FocusNetError, TypeError, AttributeError, NameError)
_OURS += (AssertionError, ImportError)


@dataclass(frozen=True)
class Found:
    """What a listing says of a file; equal as long as the file is the same."""

    size: int
    modified: float | None  # seconds since 1970, by the store's clock
    tag: str | None  # of the content, where the store has one


@dataclass(frozen=True)
class Place:
    """A folder at an address. Names are relative to it, with ``/`` between their parts.

    All methods raise Unreachable.
    """

    files: Any  # the fsspec file system
    root: str  # path on it
    url: str
    whole: bool  # whether it is an object store

    def below(self, name: str) -> "Place":
        return replace(self, root=f"{self.root}/{name}", url=f"{self.url}/{name}")

    @property
    def hash(self) -> str:
        """Stands for the address in the name of a folder."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def listing(self, below: str = "") -> dict[str, Found]:
        """All files in the folder, or in a folder below it; none where there is no such folder."""
        start = self._path(below) if below else self.root
        with self._translated():
            # Else fsspec takes a folder that it cannot list for an empty one.
            strict = {} if self.whole else {"on_error": "raise"}
            try:
                found = self.files.find(start, detail=True, **strict)
            except FileNotFoundError:
                if self.files.exists(start):
                    raise Unreachable(f"{self.url}: changed while it was listed") from None
                return {}
        prefix = f"{self.root.rstrip('/')}/"
        names = {}
        for path, info in found.items():
            name = path.removeprefix(prefix)
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise DataError(f"{self.url}: holds a file whose name leaves it: {name!r}")
            if info.get("type", "file") == "file" and not name.endswith("/"):
                names[name] = _found(info)
        return names

    def match(self, pattern: str) -> list[str]:
        """Names of the files that match a pattern such as ``*/space.yaml``."""
        with self._translated():
            found = self.files.glob(self._path(pattern))
        return [path.removeprefix(f"{self.root.rstrip('/')}/") for path in found]

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is none."""
        with self._translated():
            try:
                return self.files.cat_file(self._path(name))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a small file."""
        with self._translated(), self._appearing(name) as path:
            self.files.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """Make a small file if it is not there; whether it was not.

        Of two at the same time one wins where the store can promise it (S3, Google Cloud, a file
        system); elsewhere both may.
        """
        path = self._path(name)
        with self._translated():
            self._make_folder(path)
            try:
                if getattr(self.files, "local_file", False):
                    _create_local(path, data)
                else:
                    self.files.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True

    def upload(self, source: Path, name: str) -> None:
        """Make or replace a file. FileNotFoundError where ``source`` is gone by now."""
        if source.stat().st_size <= _AT_ONCE:
            self.write(name, source.read_bytes())
            return
        # A second name keeps the content, should the file be replaced meanwhile.
        kept = source.with_name(f"{_PUSHED}{uuid.uuid4().hex}.part")
        os.link(source, kept)
        try:
            with self._translated(), self._appearing(name) as path:
                self.files.put_file(str(kept), path)
        finally:
            kept.unlink(missing_ok=True)

    def download(self, names: Collection[str], folder: Path) -> None:
        """Copy files to ``folder``, where each appears whole. FileNotFoundError if one is gone."""
        if not names:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_PULLED, dir=folder) as inbox:
            ordered = sorted(names)
            parts = [f"{inbox}/{index}" for index in range(len(ordered))]
            with self._translated(FileNotFoundError):
                self.files.get([self._path(name) for name in ordered], parts)
            for name, part in zip(ordered, parts, strict=True):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, path)

    def remove(self, names: Collection[str]) -> None:
        """Remove files; one that is gone already is no error."""
        with self._translated():
            for name in names:
                with suppress(FileNotFoundError):
                    self.files.rm_file(self._path(name))

    def move(self, name: str, target: str) -> None:
        """Give a file another name, without carrying it through this machine."""
        with self._translated():
            self._make_folder(self._path(target))
            self.files.mv(self._path(name), self._path(target))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _make_folder(self, path: str) -> None:
        if not self.whole:
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _appearing(self, name: str) -> Iterator[str]:
        """The path to write to, which becomes ``name`` at the end."""
        path = self._path(name)
        if self.whole:
            yield path
            return
        self._make_folder(path)
        folder, _, last = path.rpartition("/")
        part = f"{folder}/.{last}.{uuid.uuid4().hex}.part"
        try:
            yield part
            self.files.mv(part, path)
        except BaseException:
            with suppress(Exception):
                self.files.rm_file(part)
            raise

    @contextmanager
    def _translated(self, *passing: type[Exception]) -> Iterator[None]:
        try:
            yield
        except _OURS + passing:
            raise
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # a full disk on this side
            raise Unreachable(f"{self.url}: {_words(error)}") from error


def is_address(text: str) -> bool:
    """Whether ``text`` is an fsspec address, not a folder."""
    return "://" in text


def open_place(address: str) -> Place:
    """The folder at an address, which need not be there yet.

    Raises:
        ConfigError: fsspec has no way there; where a package is missing, its name.
    """
    import fsspec

    protocol = address.partition("://")[0].rpartition("::")[2]
    try:
        # What a listing said a moment ago does not count: other machines write there too.
        files, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        advice = f"pip install {package}, on every node" if package else _words(error)
        raise ConfigError(f"{address}: {protocol}:// needs another package: {advice}") from None
    except Exception as error:
        raise ConfigError(f"{address}: {_words(error)}") from None
    root = root.rstrip("/")
    return Place(files, root, files.unstrip_protocol(root), protocol in _OBJECT_STORES)


def check_place(place: Place, *, write: bool = True) -> None:
    """Look whether files can be listed and, unless told otherwise, written at the address.

    Raises:
        ConfigError: what is wrong, in the words of whoever refused.
    """
    probe = f".probe-{uuid.uuid4().hex}"
    doing = "read"
    try:
        place.read(probe)
        if write:
            doing = "written"
            place.write(probe, b"probe")
            place.remove([probe])
    except Unreachable as error:
        advice = "credentials, region and endpoint come from the environment, see docs/scaling.md"
        raise ConfigError(
            [f"--results {error.problems[0]}", f"It cannot be {doing}: {advice}"]
        ) from None


def attempt_until(call: Callable[[], None]) -> None:
    """Repeat ``call`` while files that a listing has just named are gone when it reads them."""
    for _ in range(5):
        with suppress(FileNotFoundError):
            return call()
    return call()


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed while they carried files have left in ``folder``."""
    for path in folder.rglob(f"{_PUSHED}*.part"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"{_PULLED}*"):
        shutil.rmtree(path, ignore_errors=True)


def is_leftover(name: str) -> bool:
    """Whether a file of this name (relative, with ``/``) is on its way, not there yet."""
    return name.endswith(".part") or name.startswith(_PULLED) or f"/{_PULLED}" in name


def _create_local(path: str, data: bytes) -> None:
    """FileExistsError where ``path`` is there; else its content comes with the name."""
    part = f"{path}.{uuid.uuid4().hex}.part"
    with open(part, "xb") as file:
        file.write(data)
    try:
        os.link(part, path)
    finally:
        os.unlink(part)


def _found(info: dict[str, Any]) -> Found:
    moments = (info.get(key) for key in ("LastModified", "mtime", "updated", "last_modified"))
    moment = next((one for one in (*moments, info.get("created")) if one is not None), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("ino")
    return Found(int(info.get("size") or 0), moment, None if tag is None else str(tag))


def _words(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
