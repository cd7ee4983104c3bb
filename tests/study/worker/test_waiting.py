"""A trial that waits for a template of another process shows that, and can be stopped."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from paths import ROOT

from focusnet.pipeline import run_trial
from study.console.status_text import describe_study, utc_now
from study.ledger.ledger import Ledger
from study.space.file import read_space_file
from study.space.validation import validate_space
from study.worker.trainable import conduct_trial

PATIENCE = 40  # seconds; Tune kills a worker that does not end after 60


def pause(record: dict) -> None:
    time.sleep(600)


@pytest.mark.slow
def test_an_interrupted_study_ends_soon_although_its_trial_waits_for_a_template(
    tmp_path, tiny_dataset
):
    changes = [
        f"trial.data.root={tiny_dataset}",
        f"trial.data.cache={tmp_path / 'cache'}",
        "trial.template.epochs=2",
        "space.data.subset={choice: [100]}",
        "search.trials=1",
        "search.seed=0",
    ]
    space = validate_space(read_space_file(ROOT / "search_spaces" / "demo.yaml", changes), "demo")
    settings = space.trial_config(space.first_values()).model_dump()
    spawn = multiprocessing.get_context("spawn")
    builder = spawn.Process(target=run_trial, args=(settings, tmp_path / "builder", pause))
    builder.start()
    command = [sys.executable, str(ROOT / "study" / "run.py"), "--results", str(tmp_path)]
    try:
        wait_until(lambda: any((tmp_path / "cache" / "templates").glob("*.building")))
        study = subprocess.Popen(
            [*command, *(f"--set={change}" for change in changes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ,
        )
        ledger = Ledger(tmp_path / "demo")
        wait_until(lambda: any(ledger.folder.glob("trials/*/waiting.json")))
        assert re.search(
            r"^Running\n  \S+: waiting for template; since", describe_study(ledger, utc_now()), re.M
        )
        study.send_signal(signal.SIGINT)
        output, _ = study.communicate(timeout=PATIENCE)
        assert study.returncode == 130, output
        assert builder.is_alive()
    finally:
        builder.kill()
        builder.join()
        study.kill()


def test_a_waiting_trial_reports_to_tune_from_time_to_time(tmp_path, monkeypatch):
    times = iter([0.0, 0.2, 1.9, 2.1, 2.1, 3.0, 4.2, 4.2])
    told = []

    def run(settings, out_dir, report, while_waiting):
        for _ in range(4):
            while_waiting("waiting for template")
        while_waiting("training fold 2 of 5")

    monkeypatch.setattr("focusnet.pipeline.run_trial", run)
    monkeypatch.setattr("study.worker.trainable.time.monotonic", lambda: next(times))
    (tmp_path / "trial.json").write_text(
        '{"trial": "a", "arm": "focusnet", "stratum": 1, "index": 0, "seed": 0, "parameters": {}}'
    )
    conduct_trial(tmp_path, {}, told.append)
    assert told == [{"at": "waiting for template"}, {"at": "training fold 2 of 5"}]


def wait_until(condition) -> None:
    for _ in range(3600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("condition not met within 180 s")
