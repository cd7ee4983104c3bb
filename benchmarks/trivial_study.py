"""Runs a study whose trials do nothing, to measure the driver's own CPU time.

    python benchmarks/trivial_study.py --space ...    # the options of study/run.py

Its last line is JSON with the CPU seconds of this process.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from study.run import main


def trivial_trial(
    config: Mapping[str, Any],
    out_dir: Path,
    report: Callable[[dict[str, Any]], None],
    **options: Any,
) -> None:
    """Replaces ``focusnet.pipeline.run_trial``: reports one epoch per stage and made-up results."""
    score = 0.5 + config["focus"]["weight"] / 100
    lines = []
    for stage in ("template", "focus"):
        record = {"stage": stage, "epoch": 1, "epochs": 1, f"{stage}/select/macro_accuracy": score}
        lines.append(json.dumps(record))
        (out_dir / "epochs.jsonl").write_text("\n".join(lines) + "\n")
        if stage == "template":
            report(record)
    metrics = {
        "template/select/macro_accuracy": 0.5,
        "focus/select/macro_accuracy": score,
        "gain/select/macro_accuracy": score - 0.5,
        "focus/report/macro_accuracy": score,
        "focus/warm_classes": 1.0,
        "seconds": 0.0,
    }
    result = {"metrics": metrics, "template_key": "none", "skipped": []}
    (out_dir / "weights.safetensors").write_bytes(b"")
    part = out_dir / "result.json.part"
    part.write_text(json.dumps(result))
    part.rename(out_dir / "result.json")
    report(record)


if __name__ == "__main__":
    status = main(run_trial=trivial_trial, prepare=lambda space: [{"root": "none"}])
    print(json.dumps({"driver_seconds": time.process_time()}), flush=True)
    sys.exit(status)
