"""The study's command as it was given, and how to write it again."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from study.project import ROOT


@dataclass(frozen=True)
class Command:
    """The arguments of ``study/run.py`` and the folder where they were given.

    A study works in its own folder, and the folder where it was started may be removed meanwhile.
    """

    arguments: tuple[str, ...]
    folder: Path

    def again(self, *flags: str) -> str:
        """The command line with ``flags`` added, as a shell takes it in the same folder."""
        script = ROOT / "study" / "run.py"
        if self.folder.is_dir():
            script = Path(os.path.relpath(script, self.folder))
        added = [flag for flag in flags if flag not in self.arguments]
        return shlex.join(["python", str(script), *self.arguments, *added])

    def resume(self, *flags: str) -> str:
        """The command line that goes on with the study."""
        return self.again("--resume", *flags)

    def shown(self, path: Path) -> str:
        """``path`` quoted for a shell in the same folder; relative where it is below that."""
        if path.is_relative_to(self.folder) and self.folder.is_dir():
            path = path.relative_to(self.folder)
        return shlex.quote(str(path))
