"""Runs ``study/run.py`` with fake trials that take no time, to test everything around them.

    python tests/support/fake_study.py --space ... (as study/run.py)

``focus.temperature``, unused otherwise here, sets a trial's fault: 99 raises an error, 98 kills its
process, 97 kills it once.
"""

import json
import math
import os
import signal
import sys
import time

EPOCH_SECONDS = float(os.environ.get("FAKE_EPOCH_SECONDS", "0.05"))


def fake_trial(config, out_dir, report, **ignored):
    """Like ``focusnet.pipeline.run_trial``, with accuracies made up from the settings."""
    focus, subset = config["focus"], config["data"]["subset"]
    behaviour, threshold = focus["temperature"], focus["threshold"] or 0.1
    lines = []
    template = 0.3 + subset / 400
    peak = template + 0.05 - 0.02 * abs(math.log(focus["weight"])) - threshold / 10
    epochs = config["template"]["epochs"]
    for stage, top in (("template", template), ("focus", peak)):
        for epoch in range(1, epochs + 1):
            time.sleep(EPOCH_SECONDS)
            if behaviour == 99:
                raise ValueError("the loss is not finite")
            if behaviour == 98 or (behaviour == 97 and not (out_dir / "killed").exists()):
                (out_dir / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            name = f"{stage}/select/macro_accuracy"
            record = {"stage": stage, "epoch": epoch, "epochs": epochs, name: top * epoch / epochs}
            lines.append(json.dumps(record))
            (out_dir / "epochs.jsonl").write_text("\n".join(lines) + "\n")
            (out_dir / "checkpoint.pt").touch()
            if stage == "template" or epoch < epochs:
                report(record)
    metrics = {
        "template/select/macro_accuracy": template,
        "focus/select/macro_accuracy": peak,
        "gain/select/macro_accuracy": peak - template,
        "focus/report/macro_accuracy": peak - 0.01,
        "focus/warm_classes": 1.0 + threshold,
        "seconds": EPOCH_SECONDS * 2 * epochs,
    }
    result = {"metrics": metrics, "template_key": f"key{subset}", "skipped": []}
    (out_dir / "weights.safetensors").write_bytes(b"weights")
    part = out_dir / "part.json"
    part.write_text(json.dumps(result))
    part.rename(out_dir / "result.json")
    (out_dir / "checkpoint.pt").unlink(missing_ok=True)
    report(record)


if __name__ == "__main__":
    from study.run import main

    sys.exit(main(run_trial=fake_trial, prepare=lambda space: [{"root": "none"}]))
