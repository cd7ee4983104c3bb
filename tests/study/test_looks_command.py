"""Planned looks as a user sees them, with a real Ray and a driver that is really killed."""

import json
import os
import re
import subprocess
import sys
import time

import pandas as pd
import pytest
from paths import ROOT
from study_command import FAKE, command, run

PLAN = [
    "--set=trial.template.epochs=2",
    "--set=search.trials=2",
    "--set=controls={arms: [cross_entropy, placebo], seeds: []}",
    "--set=confirm={looks: [4, {25: 6, 100: 5}, 8], margin: 0.001}",
]


def outcome(results):
    looks = json.loads((results / "demo" / "looks.json").read_text())
    table = pd.read_parquet(results / "demo" / "trials.parquet")
    columns = ["trial", "arm", "seed", "winner", "judged_on", "look", "status", "data.subset"]
    return [{**look, "time": ""} for look in looks], table[columns].sort_values(
        "trial"
    ).values.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("gain", ["0", "20"])
def test_a_study_killed_between_looks_takes_the_same_decisions(tmp_path, gain):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    parts.mkdir()
    done = run(FAKE, whole, *PLAN, FAKE_GAIN=gain, FAKE_EPOCH_SECONDS="0.01")
    assert done.returncode == 0, done.stderr
    assert re.search(r"study +search \d of 4, .*confirmation \d+ of up to \d+", done.stdout)
    log = parts / "log.txt"
    with log.open("w") as output:
        study = subprocess.Popen(
            command(FAKE, parts, *PLAN),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=parts,
            env={**os.environ, "FAKE_GAIN": gain, "FAKE_EPOCH_SECONDS": "0.05"},
        )
        deadline = time.monotonic() + 300
        while not (parts / "demo" / "looks.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        study.kill()
        study.wait(timeout=120)
    first, _ = outcome(parts)
    assert len(first) == 1
    status = subprocess.run(
        [sys.executable, str(ROOT / "study" / "status.py"), str(parts / "demo")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "look 1 of 3: FocusNet" in status.stdout
    assert ("up to" in status.stdout) == (gain == "0")
    resumed = run(FAKE, parts, *PLAN, "--resume", FAKE_GAIN=gain, FAKE_EPOCH_SECONDS="0.01")
    assert resumed.returncode == 0, resumed.stderr
    assert outcome(parts) == outcome(whole)
    looks, trials = outcome(whole)
    assert [look["verdict"] for look in looks] == (["gain"] if gain == "20" else ["undecided"] * 3)
    assert len(trials) == 4 + (8 * 3 if gain == "20" else 16)
    assert f"look 1 of 3: FocusNet {looks[0]['estimate']:+.2f} points" in resumed.stdout


@pytest.mark.slow
def test_looks_of_a_study_at_an_address_read_the_predictions_there(tmp_path):
    address = f"file://{tmp_path}/store"
    (tmp_path / "store").mkdir()
    done = subprocess.run(
        [sys.executable, str(FAKE), f"--results={address}", *PLAN],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "FAKE_GAIN": "20",
            "FAKE_EPOCH_SECONDS": "0.01",
            "FOCUSNET_CACHE": str(tmp_path / "cache"),
        },
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    looks, trials = outcome(tmp_path / "store")
    assert [look["verdict"] for look in looks] == ["gain"]
    assert [one["left_out"] for one in looks[0]["strata"]] == [[], []]
    assert len(trials) == 4 + 8 * 3
