"""Runs ``study/run.py`` with fake trials that take no time, to test everything around them.

    python tests/support/fake_study.py --space ... (as study/run.py)

``focus.temperature``, unused otherwise here, sets a trial's fault: 99 raises an error, 98 kills its
process, 97 kills it once. ``FAKE_GAIN`` is what FocusNet's predictions gain over the template's, in
points, up to the luck of a few clips.
"""

import json
import math
import os
import signal
import sys
import time

import numpy as np
import pandas as pd

EPOCH_SECONDS = float(os.environ.get("FAKE_EPOCH_SECONDS", "0.05"))
GAIN = float(os.environ.get("FAKE_GAIN", "0"))
SCENES, LOCATIONS, CLIPS = ("airport", "bus", "metro"), 3, 20


def fake_predictions(config):
    """Predictions of both stages: half of the clips are right, or more, by the luck of the seed."""
    luck = np.random.default_rng([config["seed"], config["data"]["subset"], len(config["arm"])])
    frames = []
    gains = {"template": 0.0, "focus": GAIN if config["arm"] == "focusnet" else 0.0}
    for half in ("select", "report"):
        for stage, gain in gains.items():
            for scene in SCENES:
                for place in range(LOCATIONS):
                    count = round(CLIPS * (0.5 + gain / 100)) + luck.integers(-1, 2)
                    right = np.arange(CLIPS) < count
                    logits = {
                        f"logit/{name}": np.where((name == scene) == right, 1.0, 0.0)
                        for name in SCENES
                    }
                    names = [f"{half}-{scene}-{place}-{n}" for n in range(CLIPS)]
                    about = {"clip": names, "stage": stage, "half": half, "scene": scene}
                    frames.append(pd.DataFrame({**about, "location": f"{half}-{place}", **logits}))
    return pd.concat(frames, ignore_index=True)


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
        "template/report/macro_accuracy": template - 0.01,
        "focus/report/macro_accuracy": peak - 0.01,
        "focus/warm_classes": 1.0 + threshold,
        "seconds": EPOCH_SECONDS * 2 * epochs,
    }
    result = {"metrics": metrics, "template_key": f"key{subset}", "skipped": []}
    fake_predictions(config).to_parquet(out_dir / "predictions.parquet")
    (out_dir / "weights.safetensors").write_bytes(b"weights")
    part = out_dir / "part.json"
    part.write_text(json.dumps(result))
    part.rename(out_dir / "result.json")
    (out_dir / "checkpoint.pt").unlink(missing_ok=True)
    report(record)


if __name__ == "__main__":
    from study.run import main

    sys.exit(main(run_trial=fake_trial, prepare=lambda space: [{"root": "none"}]))
