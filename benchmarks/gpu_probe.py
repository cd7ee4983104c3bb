"""Measures how trials run on this machine's GPU, in at most eight minutes.

    python benchmarks/gpu_probe.py                      # all items, the most valuable ones first
    python benchmarks/gpu_probe.py --only step,memory   # some items
    python benchmarks/gpu_probe.py --out probe.jsonl    # adds the lines to a file, too

Prints one JSON line for each figure as soon as it is known, so that nothing is lost if the machine
goes away. Every item runs in a process of its own and has a time limit. It needs neither a network
nor Ray. Status 1: an item failed or ran out of time.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Figures = Iterator[dict[str, Any]]

# Item: the module with a function of its name, the longest time that it gets, what it measures.
ITEMS = {
    "device": ("device", 60, "the card, its driver, the rates that it reaches"),
    "step": ("steps", 150, "a training step: plain, compiled, with audio on the host, fp32"),
    "memory": ("memory", 60, "peak memory by batch size and precision"),
    "profile": ("steps", 60, "kernels of a step, idle time of the GPU, time to issue a step"),
    "student": ("steps", 60, "a training step of the student"),
    "attention": ("kernels", 60, "attention by kernel and shape, and its first call"),
    "logits": ("kernels", 60, "logits in bf16 and fp16 against fp32"),
    "checkpoint": ("state", 60, "saving the state of a stage from the GPU"),
    "start": ("state", 60, "what a trial's process does before it trains"),
    "neighbours": ("processes", 120, "two trials on one card, with and without MPS"),
    "full": ("memory", 60, "what a user reads when the memory is too small"),
    "compile": ("steps", 120, "seconds that compilation takes, cold and warm"),
    "resume": ("state", 120, "a trial that is killed and resumed"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 if an item failed."""
    options = _parser().parse_args(arguments)
    if options.item:
        return _measure(options.item, options.out, small=options.small)
    deadline = time.monotonic() + options.seconds
    failed = False
    for name in options.only:
        left = min(ITEMS[name][1], deadline - time.monotonic())
        if left < 5:
            _emit({"item": name, "skipped": f"{options.seconds:.0f} s are over"}, options.out)
            continue
        failed |= not _in_own_process(name, options, left)
    return int(failed)


def _in_own_process(name: str, options: argparse.Namespace, seconds: float) -> bool:
    command = [sys.executable, "-m", "benchmarks.gpu_probe", "--item", name]
    command += ["--small"] * options.small
    command += ["--out", str(options.out)] if options.out else []
    began = time.monotonic()
    # Its own group, so that processes which it started end with it.
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            _emit({"item": name, "error": f"ran longer than {seconds:.0f} s"}, options.out)
            return False
    _emit({"item": name, "took_s": round(time.monotonic() - began, 1)}, options.out)
    return status == 0


def _measure(name: str, out: Path | None, *, small: bool) -> int:
    """Measure one item in this process."""
    measure: Callable[..., Figures] = getattr(
        importlib.import_module(f"benchmarks.gpu.{ITEMS[name][0]}"), name
    )
    try:
        for figures in measure(small=small):
            _emit({"item": name, **figures}, out)
    except Exception as error:  # the other items go on
        text = f"{type(error).__name__}: {error}".strip()
        _emit({"item": name, "error": text[-2000:]}, out)
        return 1
    return 0


def _emit(figures: dict[str, Any], out: Path | None) -> None:
    line = json.dumps(figures)
    print(line, flush=True)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _parser() -> argparse.ArgumentParser:
    items = "".join(f"  {name:12}{what}\n" for name, (_, _, what) in ITEMS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"items:\n{items}",
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=list(ITEMS),
        metavar="NAMES",
        help="items, separated by commas",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also add the lines to FILE")
    parser.add_argument(
        "--seconds", type=float, default=480, help="start no item later (default 480)"
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="a tiny network on small batches, on a CPU where there is no GPU: tries the command",
    )
    parser.add_argument("--item", choices=ITEMS, help=argparse.SUPPRESS)
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(ITEMS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such item: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
