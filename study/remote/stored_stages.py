"""Exchanges trained stages through an address, for nodes that share no folder.

The stages are templates, second stages as teachers, and students, each kind in a folder of its own.
``KEY.json`` is the manifest of a stage: its files and their checksums. It is written last, so
a stage is visible only when it is complete. There is no lock between nodes: two may train the
same stage at the same time, and all use the one that was complete first (the second node would
otherwise wait with an idle GPU). ``KEY/checkpoint.pt`` is the checkpoint of one in training.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from focusnet.errors import DataError
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import new_folder
from study.errors import Unreachable
from study.remote.files import RemoteFolder
from study.remote.mirror import WorkingCopy
from study.remote.retry import PeriodicTask, Retrier

KINDS = ("template", "teacher", "student")
_INTERVAL = 5.0  # seconds between two uploads of a checkpoint
_PUBLISH_TIMEOUT = 60.0  # seconds: a trial can go on with a stage that is not published

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Manifest:
    """Which files a stage consists of."""

    folder: str  # where they are
    files: dict[str, str]  # SHA-256 by name

    def encode(self) -> bytes:
        """The manifest as JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def decode(cls, data: bytes | None, key: str) -> "Manifest | None":
        """The manifest of ``key``; None if it is missing, invalid or names other folders."""
        try:
            content = json.loads(data or b"{}")
            manifest = cls(str(content["folder"]), dict(content["files"]))
        except (ValueError, LookupError, TypeError):
            return None
        plain_names = all(Path(name).name == name for name in manifest.files)
        inside = manifest.folder.startswith(f"{key}/")
        return manifest if manifest.files and plain_names and inside else None


class RemoteStages:
    """The stages of one kind in a folder at an address."""

    def __init__(self, remote: RemoteFolder, retrier: Retrier, kind: str = "template") -> None:
        self._remote = remote
        self._retrier = retrier
        self._kind = kind

    def fetch(self, key: str, folder: Path) -> bool:
        """Download a stage into ``folder``; False if there is none or it is damaged."""
        return self._retrier.retry(lambda: self._fetch(key, folder))

    def publish(self, key: str, folder: Path) -> bool:
        """Upload the stage in ``folder``; False if there is one with this key already.

        If the address cannot be reached for a minute, nothing is published; returns True.
        """
        try:
            return self._retrier.retry(lambda: self._publish(key, folder), _PUBLISH_TIMEOUT)
        except Unreachable:
            logger.warning(
                "%s %s is not uploaded before a trial here needs it again", self._kind, key
            )
            return True

    @contextmanager
    def building(self, key: str, folder: Path) -> Iterator[None]:
        """Upload the checkpoint in ``folder`` while a stage is trained there.

        A checkpoint that another node has left is downloaded first.
        """
        copy = WorkingCopy(folder, self._remote.subfolder(key), lambda name: name == CHECKPOINT)
        if not (folder / CHECKPOINT).is_file():
            self._retrier.retry(copy.pull)
        upload = PeriodicTask(partial(copy.push, keep=[CHECKPOINT]), _INTERVAL, self._retrier)
        upload.start()
        try:
            yield
        except BaseException:
            upload.stop()
            self._retrier.try_once(copy.push)
            raise
        upload.stop()

    def _fetch(self, key: str, folder: Path) -> bool:
        manifest = self._manifest(key)
        if manifest is None:
            return False
        try:
            with new_folder(folder) as part:
                self._remote.subfolder(manifest.folder).download(manifest.files, part)
                for name, checksum in manifest.files.items():
                    if _checksum(part / name) != checksum:
                        raise DataError(f"wrong checksum of {name}")
        except (FileNotFoundError, DataError) as error:
            logger.warning(
                "%s %s at %s is damaged and not used: %s",
                self._kind,
                key,
                self._remote.url,
                error,
            )
            self._remote.remove([f"{key}.json"])
            return False
        return True

    def _publish(self, key: str, folder: Path) -> bool:
        if self._manifest(key):
            return False
        target = f"{key}/{uuid.uuid4().hex}"
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != CHECKPOINT)
        for path in files:
            self._remote.upload(path, f"{target}/{path.name}")
        manifest = Manifest(target, {path.name: _checksum(path) for path in files})
        if not self._remote.create(f"{key}.json", manifest.encode()):
            if self._manifest(key):  # another node was faster
                self._remote.remove([f"{target}/{path.name}" for path in files])
                return False
            self._remote.write(f"{key}.json", manifest.encode())  # the one there is invalid
        self._remote.remove([f"{key}/{CHECKPOINT}"])
        return True

    def _manifest(self, key: str) -> Manifest | None:
        return Manifest.decode(self._remote.read(f"{key}.json"), key)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
