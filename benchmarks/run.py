"""Measure how fast the project is, against what a user would run instead.

    python benchmarks/run.py                               # all parts
    python benchmarks/run.py --only data_path,front_end    # some
    python benchmarks/run.py --quick                       # rough figures, nothing written

Each part runs in processes of its own, with its threads pinned and both sides in turns. The table
goes to the terminal and, with the figures of parts that were not measured now, to
benchmarks/RESULTS.md and benchmarks/results.json.
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
    "data_path": "batches of waveforms, with DIR and roll",
    "front_end": "log-mel",
    "train_step": "forward, backward and optimiser of PaSST-S on CPU",
    "gpu_step": "clips to optimiser of PaSST-S on a GPU",
    "inference": "evaluation and template logits of PaSST-S on CPU",
    "caching": "decoding a data set for the first time",
    "scale": "what grows with the size of the data set",
    "study_cost": "fixed cost, driver time, shared templates, early stopping (minutes)",
}
_VERSIONS = ("torch", "numpy", "scipy", "hear21passt", "lightning", "ray")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit status 1 where a part failed or missed its minimum."""
    options = _parser().parse_args(arguments)
    known = _read(options.out / "results.json")
    measured: dict[str, Any] = {}
    failed = []
    for name in options.only:
        print(f"{name}: {PARTS[name]} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            rows = importlib.import_module(f"benchmarks.{name}").measure(quick=options.quick)
        except Exception as error:  # one part's fault must not cost the others
            failed.append(name)
            print(f"{name} failed: {error}", file=sys.stderr)
            continue
        measured[name] = {**circumstances(), "seconds": round(time.monotonic() - started)}
        measured[name]["rows"] = [asdict(row) for row in rows]
        print(as_text({name: measured[name]}), flush=True)
    if len(measured) > 1:
        print(as_text(measured))
    if measured and not options.quick:
        parts = {**known, **measured}
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
        print(f"below its minimum: {what}", file=sys.stderr)
    return int(bool(failed or missed))


def circumstances() -> dict[str, Any]:
    """When and on what a part was measured; nothing that names a machine or a person."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of what counts for speed; most parts run without Ray."""
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
        help="these parts (default: all)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, less data; nothing is written"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER,
        metavar="DIR",
        help="folder of RESULTS.md and results.json (default: benchmarks/)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
