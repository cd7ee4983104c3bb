"""The real packages, without a network: what a killed and resumed study leaves in them."""

import glob
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from paths import SUPPORT
from study_command import SEARCH_ONLY

PATIENCE = 250
EPOCHS = 4


def study(results, tracking):
    return [
        sys.executable, str(SUPPORT / "fake_study.py"), f"--results={results}", *SEARCH_ONLY,
        "--set=search.trials=2", f"--set=trial.template.epochs={EPOCHS}",
        f"--set=tracking={json.dumps(tracking)}",
    ]  # fmt: skip


def killed_and_resumed(tmp_path, tracking, **environment):
    """Run the study, kill its driver after two trials, resume it; returns the trials' names."""
    log = tmp_path / "log.txt"
    env = {**os.environ, **environment, "FAKE_EPOCH_SECONDS": "0.3"}
    with log.open("w") as output:
        driver = subprocess.Popen(
            study(tmp_path, tracking), stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path,
            env=env,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while log.read_text().count("done     ") < 2:
            assert time.monotonic() < deadline, log.read_text()
            assert driver.poll() is None, log.read_text()
            time.sleep(0.1)
        driver.kill()
        driver.wait()
    resumed = subprocess.run(
        [*study(tmp_path, tracking), "--resume"], capture_output=True, text=True, cwd=tmp_path,
        env=env | {"FAKE_EPOCH_SECONDS": "0.05"}, timeout=PATIENCE,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr == ""
    assert "tracking" not in resumed.stdout, "no warning"
    return sorted(pd.read_parquet(tmp_path / "demo" / "trials.parquet")["trial"])


def curve(stage):
    return [float(epoch) for epoch in range(1, EPOCHS + 1)]


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path):
    pytest.importorskip("wandb", reason="needs wandb (requirements-optional.txt)")
    trials = killed_and_resumed(tmp_path, {"wandb": {"project": "asc"}}, WANDB_MODE="offline")
    files = sorted(glob.glob(str(tmp_path / "demo" / "wandb" / "offline-run-*" / "run-*.wandb")))
    runs = {}
    for path in files:
        read_offline_run(path, runs)
    assert sorted(runs) == [f"demo-{trial}" for trial in trials]
    for name, run in runs.items():
        for stage in ("template", "focus"):
            assert list(run["steps"][stage].values()) == curve(stage), name
        assert run["group"].startswith("demo subset ")
        assert run["config"]["arm"] == "focusnet"
        assert run["summary"]["status"] == "finished"


def records_of(path):
    """The records of a ``.wandb`` file: LevelDB's log format, after seven bytes of W&B's own."""
    data = Path(path).read_bytes()
    assert data.startswith(b":W&B")
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768  # of this block; a header is not split
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_offline_run(path, runs):
    """Add what a file of W&B holds to ``runs``: steps are by number, as the server counts them."""
    from wandb.proto import wandb_internal_pb2

    run = None
    for data in records_of(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            empty = {"steps": {"template": {}, "focus": {}}, "summary": {}, "config": {}}
            run = runs.setdefault(record.run.run_id, empty)
            run["group"] = record.run.run_group
            for one in record.run.config.update:
                run["config"][one.key] = json.loads(one.value_json)
        elif kind == "history":
            items = {
                one.key or "/".join(one.nested_key): json.loads(one.value_json)
                for one in record.history.item
            }
            number = record.history.step.num
            for stage in ("template", "focus"):
                if f"{stage}/epoch" in items:
                    run["steps"][stage].setdefault(number, items[f"{stage}/epoch"])
        elif kind == "summary":
            for one in record.summary.update:
                run["summary"][one.key] = json.loads(one.value_json)


@pytest.mark.slow
def test_mlflow_in_the_folder_of_the_study(tmp_path):
    pytest.importorskip("mlflow", reason="needs mlflow-skinny (requirements-optional.txt)")
    trials = killed_and_resumed(tmp_path, {"mlflow": {}})
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'demo' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("demo")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == trials
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.params["arm"] == "focusnet"
        assert run.data.tags["group"].startswith("demo subset ")
        assert "final/focus/report/macro_accuracy" in run.data.metrics
        for stage in ("template", "focus"):
            history = client.get_metric_history(run.info.run_id, f"{stage}/epoch")
            assert sorted(one.value for one in history) == curve(stage), "no step twice, none lost"


@pytest.mark.slow
def test_trackio_on_this_machine(tmp_path):
    pytest.importorskip("trackio", reason="needs trackio (requirements-optional.txt)")
    folder = tmp_path / "trackio"
    trials = killed_and_resumed(tmp_path, {"trackio": {"project": "asc"}}, TRACKIO_DIR=str(folder))
    program = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as S\n"
        "print(json.dumps({run: S.get_logs('asc', run) for run in S.get_runs('asc')}))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True,
        env={**os.environ, "TRACKIO_DIR": str(folder)},
    )  # fmt: skip
    runs = json.loads(seen.stdout)
    assert sorted(runs) == [f"demo-{trial}" for trial in trials], seen.stderr
    for logs in runs.values():
        for stage in ("template", "focus"):
            epochs = [one[f"{stage}/epoch"] for one in logs if f"{stage}/epoch" in one]
            assert epochs == curve(stage), "no step twice, none lost"
        assert logs[-1]["final/status"] == "finished"
