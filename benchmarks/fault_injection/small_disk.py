"""Mounts a small file system that can be filled, to test a full disk."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_PRIVATE = "FAULTS_PRIVATE_MOUNTS"  # set in the environment once mounts are private


class SmallDisk:
    """Mounts a small file system at ``folder``; needs ``private_mounts``."""

    SIZE = "256m"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def __enter__(self) -> "SmallDisk":
        self.folder.mkdir(parents=True)
        options = ["-o", f"size={self.SIZE}", "none", str(self.folder)]
        subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Unmount, and keep the files in ``folder``."""
        copy = self.folder.with_name(f"{self.folder.name}-copy")
        shutil.copytree(self.folder, copy, symlinks=True)
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        self.folder.rmdir()
        copy.rename(self.folder)

    def fill(self) -> None:
        """Fill the file system to the last byte."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def make_room(self) -> None:
        """Undo ``fill``."""
        self._filler.unlink(missing_ok=True)


def private_mounts() -> bool:
    """Restart this program in a mount namespace of its own, where it may mount file systems.

    Returns True after the restart, and False if the system does not allow it.
    """
    if os.environ.get(_PRIVATE):
        return True
    unshare = ["unshare", "--map-root-user", "--mount"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = [*unshare, "mount", "-t", "tmpfs", "none", folder]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    os.environ[_PRIVATE] = "1"
    os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])
