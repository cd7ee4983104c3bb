"""An fsspec file system in memory with a simulated network outage, for tests."""

from typing import ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from study.remote.files import RemoteFolder, open_folder


class FlakyFileSystem(MemoryFileSystem):
    """``flaky://``: operations fail while ``down`` is set, or after ``fuse`` more of them.

    ``names`` lists the files that were written, in order.
    """

    protocol = "flaky"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    down = False
    fuse: int | None = None
    names: ClassVar[list] = []

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    @classmethod
    def check(cls):
        if cls.fuse is not None:
            cls.fuse -= 1
            cls.down = cls.fuse < 0
        if cls.down:
            raise OSError("the network is down")

    def find(self, path, *args, **kwargs):
        self.check()
        return super().find(path, *args, **kwargs)

    def cat_file(self, path, *args, **kwargs):
        self.check()
        return super().cat_file(path, *args, **kwargs)

    def pipe_file(self, path, *args, **kwargs):
        self.check()
        super().pipe_file(path, *args, **kwargs)

    def put_file(self, source, path, *args, **kwargs):
        self.check()
        super().put_file(source, path, *args, **kwargs)

    def mv(self, path1, path2, *args, **kwargs):
        self.check()
        super().mv(path1, path2, *args, **kwargs)
        self.names.append(path2)

    def get_file(self, path, *args, **kwargs):
        self.check()
        super().get_file(path, *args, **kwargs)

    def rm_file(self, path):
        self.check()
        super().rm_file(path)


def flaky_folder(name: str = "studies") -> RemoteFolder:
    """An empty folder at a ``flaky://`` address, with the network up."""
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    FlakyFileSystem.store.clear()
    FlakyFileSystem.pseudo_dirs[:] = [""]
    FlakyFileSystem.names.clear()
    FlakyFileSystem.down, FlakyFileSystem.fuse = False, None
    return open_folder(f"flaky://{name}")
