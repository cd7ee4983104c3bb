"""Exchanges templates through an address, for nodes that share no folder.

``KEY.json`` says which files are the template of a key, with their checksums, and is written when
all of them are there: a template is seen whole or not at all. There is no lock between nodes, so
two may train one template at a time (the second would else have waited, with its GPU): the first
complete one is taken by all. ``KEY/checkpoint.pt`` is the state of one in the making.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from focusnet.errors import DataError
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import new_folder
from study.errors import Unreachable
from study.remote.files import Place
from study.remote.mirror import WorkingCopy
from study.remote.retry import Carrier, Persistence

_EVERY = 5.0  # seconds between two looks at the checkpoint of a template in the making
# What a trial waits for an address that is lost when it could as well go on without.
_PATIENCE = 60.0


class RemoteTemplates:
    """The templates in one folder at an address.

    Args:
        say: gets lines for the trial's log.
    """

    def __init__(self, place: Place, persistence: Persistence, say: Callable[[str], None]) -> None:
        self._place = place
        self._persistence = persistence
        self._say = say

    def fetch(self, key: str, folder: Path) -> bool:
        """Make ``folder`` the template of ``key``; False where there is none, or a damaged one."""
        return self._persistence.insist(lambda: self._fetch(key, folder))

    def publish(self, key: str, folder: Path) -> bool:
        """Let ``folder`` be the template of ``key``; False where another's was there before.

        While the address is lost for longer than a minute nothing is published and True returned.
        """
        try:
            return self._persistence.insist(lambda: self._publish(key, folder), _PATIENCE)
        except Unreachable:
            self._say(f"template {key} stays on this node, until a trial here needs it again")
            return True

    @contextmanager
    def building(self, key: str, folder: Path) -> Iterator[None]:
        """Carry the checkpoint in ``folder`` to the address, while a template is made there."""
        copy = WorkingCopy(folder, self._place.below(key), lambda name: name == CHECKPOINT)
        if not (folder / CHECKPOINT).is_file():
            self._persistence.insist(copy.pull)
        carrier = Carrier(partial(copy.push, keeping=[CHECKPOINT]), _EVERY, self._persistence)
        carrier.start()
        try:
            yield
        except BaseException:
            carrier.stop()
            self._persistence.attempt(copy.push)
            raise
        carrier.stop()

    def _fetch(self, key: str, folder: Path) -> bool:
        files, there = self._manifest(key)
        if not files:
            return False
        try:
            with new_folder(folder) as part:
                self._place.below(there).download(files, part)
                for name, checksum in files.items():
                    if _checksum(part / name) != checksum:
                        raise DataError(f"wrong checksum of {name}")
        except (FileNotFoundError, DataError) as error:
            self._say(f"template {key} at {self._place.url} is damaged and not used: {error}")
            self._place.remove([f"{key}.json"])
            return False
        return True

    def _publish(self, key: str, folder: Path) -> bool:
        if self._manifest(key)[0]:
            return False
        there = f"{key}/{uuid.uuid4().hex}"
        own = sorted(p for p in folder.iterdir() if p.is_file() and p.name != CHECKPOINT)
        for path in own:
            self._place.upload(path, f"{there}/{path.name}")
        files = {path.name: _checksum(path) for path in own}
        manifest = json.dumps({"folder": there, "files": files}, indent=1).encode()
        if not self._place.create(f"{key}.json", manifest):
            if self._manifest(key)[0]:  # another was faster
                self._place.remove([f"{there}/{name}" for name in files])
                return False
            self._place.write(f"{key}.json", manifest)  # what was there made no sense
        self._place.remove([f"{key}/{CHECKPOINT}"])
        return True

    def _manifest(self, key: str) -> tuple[dict[str, str], str]:
        """Names and checksums of a template's files, and the folder where they lie."""
        try:
            content = json.loads(self._place.read(f"{key}.json") or b"{}")
            files, there = dict(content["files"]), str(content["folder"])
        except (ValueError, LookupError, TypeError):
            return {}, ""
        plain = all(Path(name).name == name for name in files)
        return (files, there) if plain and there.startswith(f"{key}/") else ({}, "")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
