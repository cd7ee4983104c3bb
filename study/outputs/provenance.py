"""Records where a study's numbers come from: versions, code, data, hardware, seed, command."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from focusnet.auto_settings import Choice
from focusnet.system.atomic import write_json
from study.project import ROOT

FILE = "provenance.json"
# fmt: off
_PACKAGES = (
    "torch", "torchaudio", "torchvision", "hear21passt", "timm", "lightning", "ray", "optuna",
    "numpy", "scipy", "pandas", "pyarrow", "soundfile", "soxr", "pydantic", "safetensors",
)
# fmt: on


class Provenance:
    """Writes ``provenance.json``: facts about the whole study, and a record of each run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._content: dict[str, Any] = {"runs": []}
        if self._path.is_file():
            self._content = json.loads(self._path.read_text())

    def begin(
        self,
        *,
        command: Sequence[str],
        seed: int,
        data: Sequence[Mapping[str, Any]],
        nodes: Sequence[Mapping[str, float]],
        settled: Mapping[str, Choice],
    ) -> None:
        """Record a run that starts now.

        Args:
            data: for each data set: root, fingerprint, number of clips, skipped clips.
            nodes: resources of each node of the Ray cluster.
            settled: settings that said ``auto``, each with the value chosen now and the reason.
        """
        self._content |= {"seed": seed, "data": [dict(one) for one in data]}
        if settled:
            self._content["settled"] = {name: asdict(one) for name, one in settled.items()}
        run = {
            "command": list(command),
            "started": _now(),
            "ended": None,
            "outcome": None,
            "python": platform.python_version(),
            "packages": _versions(),
            "git": git_state(ROOT),
            "hardware": _hardware(),
            "nodes": [_countable(node) for node in nodes],
        }
        self._content["runs"].append(run)
        self._write()

    def end(self, outcome: str) -> None:
        """Record how the run ended."""
        self._content["runs"][-1] |= {"ended": _now(), "outcome": outcome}
        self._write()

    def _write(self) -> None:
        write_json(self._path, self._content)


def git_state(folder: Path) -> dict[str, Any] | None:
    """Git revision of ``folder``, and whether files were changed since; None without git."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    revision = git("rev-parse", "HEAD")
    if revision is None:
        return None
    return {"revision": revision, "dirty": bool(git("status", "--porcelain", "-uno"))}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _hardware() -> dict[str, Any]:
    """The machine that the command runs on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def _countable(node: Mapping[str, float]) -> dict[str, float]:
    """A node's resources, without those that Ray names after its address."""
    return {k: v for k, v in node.items() if not k.startswith(("node:", "object_store"))}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def command_line() -> list[str]:
    """The command that runs now, the interpreter without its folder."""
    return [Path(sys.executable).name, *sys.argv]
