"""Measures the project's speed and compares it with what a user would run instead.

    python benchmarks/run.py                               # all parts
    python benchmarks/run.py --only data_path,front_end    # some parts
    python benchmarks/run.py --quick                       # rough figures, nothing is written

Project and baseline run in alternating rounds, each in a process of its own with pinned threads.
The results are printed as a table and merged into benchmarks/RESULTS.md and
benchmarks/results.json; parts that were not measured keep their former figures.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.table import as_markdown, as_text
from focusnet.system.atomic import write_json, write_text

FOLDER = Path(__file__).resolve().parent
PARTS = {
    "data_path": "batches of waveforms with DIR and roll",
    "front_end": "log-mel spectrograms",
    "train_step": "training step of PaSST-S on a CPU",
    "gpu_step": "training step of PaSST-S on a GPU, with loading of the clips",
    "inference": "evaluation and template logits of PaSST-S on a CPU",
    "caching": "first decoding of a data set",
    "scale": "start-up, memory and batches by size of the data set",
    "study_cost": "overhead of a study, shared templates, early stopping (takes minutes)",
}
_VERSIONS = ("torch", "numpy", "scipy", "hear21passt", "lightning", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 if a part failed or was slower than required."""
    options = _parser().parse_args(arguments)
    former = _read(options.out / "results.json")
    measured: dict[str, Any] = {}
    failed = []
    for name in options.only:
        print(f"{name}: {PARTS[name]} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            rows = importlib.import_module(f"benchmarks.parts.{name}").measure(quick=options.quick)
        except Exception as error:  # go on with the other parts
            failed.append(name)
            print(f"{name} failed: {error}", file=sys.stderr)
            continue
        measured[name] = {**environment(), "seconds": round(time.monotonic() - started)}
        measured[name]["rows"] = [asdict(row) for row in rows]
        print(as_text({name: measured[name]}), flush=True)
    if len(measured) > 1:
        print(as_text(measured))
    if measured and not options.quick:
        parts = {**former, **measured}
        parts = {name: parts[name] for name in PARTS if name in parts}
        write_json(options.out / "results.json", {"parts": parts})
        write_text(options.out / "RESULTS.md", as_markdown(parts))
    missed = [
        row["what"]
        for part in measured.values()
        for row in part["rows"]
        if row["minimum"] and row["ratio"] and row["ratio"]["median"] < row["minimum"]
    ]
    for what in missed:
        print(f"slower than required: {what}", file=sys.stderr)
    return int(bool(failed or missed))


def environment() -> dict[str, Any]:
    """Date, hardware and software of a measurement, without names of machines or people."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Versions of the packages that matter for speed; most parts do not need Ray."""
    found = {}
    for name in _VERSIONS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            fields = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines())
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(fields.get("flags", "").split())
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    model = fields.get("model name", platform.machine())
    return f"{model}{' with ' * bool(known)}{', '.join(known)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["parts"])
    except FileNotFoundError:
        return {}


def _parts(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"unknown part {', '.join(unknown) or repr(text)}; parts: {', '.join(PARTS)}"
        )
    return names


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, PARTS))
    parts = "\n".join(f"  {name:<{width}}  {about}" for name, about in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py",
        description=__doc__,
        epilog=f"parts:\n{parts}\n\nexample:\n  python benchmarks/run.py --only front_end --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=_parts,
        default=list(PARTS),
        metavar="PART,...",
        help="measure these parts (default: all)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and less data; write nothing"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="folder for RESULTS.md and results.json (default: benchmarks/)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
