"""Reads and writes files in a remote folder (``s3://``, ``gs://``, ...) through fsspec.

A file appears complete or not at all. Whatever fsspec's file systems raise becomes one error,
``Unreachable``, which says that a retry may help. At the start of a command it becomes a
ConfigError, which says what to correct.
"""

import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from focusnet.errors import ConfigError, DataError, FocusNetError
from study.errors import Unreachable

# An object appears when its upload is complete; other stores get a temporary file and a rename.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "tos"}
_UPLOAD_PREFIX, _DOWNLOAD_PREFIX = ".pushed-", ".pulled-"  # names of temporary files and folders
_ONE_REQUEST = 8_000_000  # bytes; smaller files are read whole and sent in one request
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_PACKAGES |= dict.fromkeys(("az", "abfs", "abfss"), "adlfs")
# Mistakes in the program or its input: a retry does not help.
_NOT_NETWORK: tuple[type[Exception], ...] = (FocusNetError, TypeError, AttributeError, NameError)
_NOT_NETWORK += (AssertionError, ImportError)


@dataclass(frozen=True)
class FileInfo:
    """What a listing says about a file; equal as long as the file has not changed."""

    size: int
    modified: float | None  # seconds since 1970, by the store's clock
    tag: str | None  # identifies the content, if the store has such a tag


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at an address. File names are relative to it, with ``/`` as separator.

    All methods raise Unreachable if the store cannot be reached or refuses.
    """

    filesystem: Any  # fsspec's
    root: str  # path in the file system
    url: str
    is_object_store: bool

    def subfolder(self, name: str) -> "RemoteFolder":
        """The folder of this name (relative, with ``/``) in this one."""
        return replace(self, root=f"{self.root}/{name}", url=f"{self.url}/{name}")

    @property
    def digest(self) -> str:
        """Hash of the address, for the name of a local folder."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def list_files(self, subfolder: str = "") -> dict[str, FileInfo]:
        """All files in the folder, or in a subfolder, recursively; empty if it does not exist."""
        start = self._path(subfolder) if subfolder else self.root
        with self._translate_errors():
            # Without on_error, fsspec reports a folder that cannot be listed as empty.
            strict = {} if self.is_object_store else {"on_error": "raise"}
            try:
                found = self.filesystem.find(start, detail=True, **strict)
            except FileNotFoundError:
                if self.filesystem.exists(start):
                    raise Unreachable(f"{self.url}: changed while it was listed") from None
                return {}
        files = {}
        for path, details in found.items():
            name = self._name(path)
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise DataError(f"{self.url}: holds a file name that leads outside: {name!r}")
            if details.get("type", "file") == "file" and not name.endswith("/"):
                files[name] = _file_info(details)
        return files

    def glob(self, pattern: str) -> list[str]:
        """Names of the files that match a pattern such as ``*/space.yaml``."""
        with self._translate_errors():
            return [self._name(path) for path in self.filesystem.glob(self._path(pattern))]

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if there is no such file."""
        with self._translate_errors():
            try:
                return self.filesystem.cat_file(self._path(name))
            except FileNotFoundError:
                return None

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a small file."""
        with self._translate_errors(), self._complete_or_absent(name) as path:
            self.filesystem.pipe_file(path, data)

    def create(self, name: str, data: bytes) -> bool:
        """Create a small file; False if it exists already.

        If two processes do this at the same time, one gets False on S3, Google Cloud and local
        file systems. On other stores both may get True.
        """
        path = self._path(name)
        with self._translate_errors():
            self._make_parent(path)
            try:
                if getattr(self.filesystem, "local_file", False):
                    _create_local(path, data)
                else:
                    self.filesystem.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True

    def upload(self, source: Path, name: str) -> None:
        """Create or replace a file from a local one.

        Raises:
            FileNotFoundError: ``source`` does not exist any more.
        """
        if source.stat().st_size <= _ONE_REQUEST:
            self.write(name, source.read_bytes())
            return
        # A hard link keeps the content if the file is replaced during the upload.
        link = source.with_name(f"{_UPLOAD_PREFIX}{uuid.uuid4().hex}.part")
        os.link(source, link)
        try:
            with self._translate_errors(), self._complete_or_absent(name) as path:
                self.filesystem.put_file(str(link), path)
        finally:
            link.unlink(missing_ok=True)

    def download(self, names: Collection[str], folder: Path) -> None:
        """Copy files into a local folder, where each appears when it is complete.

        Raises:
            FileNotFoundError: one of them does not exist any more.
        """
        if not names:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_DOWNLOAD_PREFIX, dir=folder) as temporary:
            ordered = sorted(names)
            parts = [f"{temporary}/{index}" for index in range(len(ordered))]
            with self._translate_errors(FileNotFoundError):
                self.filesystem.get([self._path(name) for name in ordered], parts)
            for name, part in zip(ordered, parts, strict=True):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, path)

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that do not exist are ignored."""
        with self._translate_errors():
            for name in names:
                with suppress(FileNotFoundError):
                    self.filesystem.rm_file(self._path(name))

    def move(self, name: str, target: str) -> None:
        """Rename a file within the store, without a download."""
        with self._translate_errors():
            self._make_parent(self._path(target))
            self.filesystem.mv(self._path(name), self._path(target))

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def _name(self, path: str) -> str:
        return path.removeprefix(f"{self.root.rstrip('/')}/")

    def _make_parent(self, path: str) -> None:
        if not self.is_object_store:
            self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _complete_or_absent(self, name: str) -> Iterator[str]:
        """The path to write to; it becomes ``name`` when the context ends without an error."""
        path = self._path(name)
        if self.is_object_store:
            yield path
            return
        self._make_parent(path)
        folder, _, last = path.rpartition("/")
        part = f"{folder}/.{last}.{uuid.uuid4().hex}.part"
        try:
            yield part
            self.filesystem.mv(part, path)
        except BaseException:
            with suppress(Exception):
                self.filesystem.rm_file(part)
            raise

    @contextmanager
    def _translate_errors(self, *unchanged: type[Exception]) -> Iterator[None]:
        try:
            yield
        except _NOT_NETWORK + unchanged:
            raise
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise  # the local disk is full
            raise Unreachable(f"{self.url}: {_first_line(error)}") from error


def open_folder(address: str) -> RemoteFolder:
    """The folder at an address; it need not exist.

    Raises:
        ConfigError: fsspec does not support the address; names a missing package.
    """
    import fsspec

    protocol = address.partition("://")[0].rpartition("::")[2]
    try:
        # No cached listings: other machines write to the folder too.
        filesystem, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        advice = f"pip install {package}, on every node" if package else _first_line(error)
        raise ConfigError(f"{address}: {protocol}:// needs another package: {advice}") from None
    except Exception as error:
        raise ConfigError(f"{address}: {_first_line(error)}") from None
    root = root.rstrip("/")
    url = filesystem.unstrip_protocol(root)
    return RemoteFolder(filesystem, root, url, protocol in _OBJECT_STORES)


def check_access(folder: RemoteFolder, *, write: bool = True) -> None:
    """Check that files can be read and, unless ``write`` is false, written in a folder.

    Raises:
        ConfigError: the store's own error message, and what to check.
    """
    probe = f".probe-{uuid.uuid4().hex}"
    action = "read"
    try:
        folder.read(probe)
        if write:
            action = "written"
            folder.write(probe, b"probe")
            folder.remove([probe])
    except Unreachable as error:
        advice = "credentials, region and endpoint come from the environment, see docs/scaling.md"
        raise ConfigError(
            [f"--results {error.problems[0]}", f"It cannot be {action}: {advice}"]
        ) from None


def is_partial(name: str) -> bool:
    """Whether a file name (relative, with ``/``) is that of an unfinished upload or download."""
    return (
        name.endswith(".part")
        or name.startswith(_DOWNLOAD_PREFIX)
        or f"/{_DOWNLOAD_PREFIX}" in name
    )


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that were killed during an upload or download left in a folder."""
    for path in folder.rglob(f"{_UPLOAD_PREFIX}*.part"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"{_DOWNLOAD_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def _create_local(path: str, data: bytes) -> None:
    """Create a complete file; raises FileExistsError if ``path`` exists."""
    part = f"{path}.{uuid.uuid4().hex}.part"
    with open(part, "xb") as file:
        file.write(data)
    try:
        os.link(part, path)
    finally:
        os.unlink(part)


def _file_info(details: dict[str, Any]) -> FileInfo:
    # Each file system has its own names for these.
    keys = ("LastModified", "mtime", "updated", "last_modified", "created")
    modified = next((details[key] for key in keys if details.get(key) is not None), None)
    if isinstance(modified, str):
        modified = datetime.fromisoformat(modified)
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    tag = next(
        (details[key] for key in ("ETag", "etag", "md5Hash", "ino") if details.get(key)), None
    )
    return FileInfo(int(details.get("size") or 0), modified, None if tag is None else str(tag))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
