"""``reproduce.yaml``: a space without a search, whose one setting is trained with several seeds."""

import subprocess
import sys

import pandas as pd
import pytest
from paths import SUPPORT

SMALL = [
    "--set=resources={cpu: 1, gpu: 0}",
    "--set=trial.data.root=synthetic",
    "--set=trial.model={size: tiny, weights: none}",
    "--set=trial.compute={device: cpu}",
    "--set=trial.template.epochs=2",
    "--set=confirm.seeds=3",
]


@pytest.mark.slow
def test_its_one_setting_is_trained_with_several_seeds(tmp_path):
    command = [sys.executable, SUPPORT / "fake_study.py", "--space", "reproduce.yaml", *SMALL]
    done = subprocess.run(
        [*command, "--results", tmp_path, "--set=trial.data.subset=25"],
        capture_output=True, text=True, cwd=tmp_path, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(tmp_path / "reproduce" / "trials.parquet")
    assert trials["status"].tolist() == ["finished"] * 4
    assert sorted(trials["seed"]) == [0, 1, 2, 3]
    assert set(trials["phase"]) == {"search", "confirm"}
    assert "confirmation 3 of 3" in done.stdout
