"""study/status.py: the state of a study while its driver runs and after it died."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from paths import ROOT

from focusnet.errors import ConfigError
from study.console.status_text import describe_study, utc_now
from study.ledger.driver import is_running
from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.status import find_study, main

METRIC = "focus/select/macro_accuracy"
HOLD = (
    "import sys; from pathlib import Path; from study.ledger.ledger import Ledger\n"
    "with Ledger(Path(sys.argv[1])).locked('python study/run.py --space x.yaml --resume'):\n"
    "    print('locked', flush=True); sys.stdin.read()"
)


@pytest.fixture
def ledger(tmp_path, make_space):
    """A study of 2 x 3 trials that has begun and has no trial yet."""
    ledger = Ledger(tmp_path / "results" / "small")
    ledger.begin(make_space().content())
    return ledger


@pytest.fixture
def driver(ledger):
    """A process that locks the study as its driver does, started in the repository."""
    command = [sys.executable, "-c", HOLD, str(ledger.folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def add_pending(ledger, name, index=0, subset=25):
    ledger.hand_out(Trial(name, "focusnet", subset, index, 0, {"data.subset": subset}))
    return ledger.trial_folder(name)


def start(ledger, name, epochs, **place):
    folder = add_pending(ledger, name, **place)
    record_start(folder)
    records = [
        {"stage": stage, "epoch": epoch, "epochs": 6, f"{stage}/select/macro_accuracy": 0.1}
        for stage, epoch in epochs
    ]
    (folder / "epochs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def finish(folder, value):
    metrics = {METRIC: value, "gain/select/macro_accuracy": value - 0.4}
    (folder / "result.json").write_text(json.dumps({"metrics": metrics}))
    record_end(folder, "finished")


def fill(ledger):
    finish(start(ledger, "good", [("focus", 6)]), 0.5)
    finish(start(ledger, "poor", [("focus", 6)], index=1), 0.45)
    record_end(start(ledger, "behind", [("focus", 2)], subset=100), "stopped")
    record_end(start(ledger, "broken", [], index=1, subset=100), "failed", "the loss is nan")
    start(ledger, "under-way", [("template", 6), ("focus", 4)], index=2)


def status(*arguments, **options):
    command = [sys.executable, str(ROOT / "study" / "status.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_a_running_study_shows_its_trials_and_the_best_of_each_stratum(ledger, driver):
    fill(ledger)
    text = describe_study(ledger, utc_now() + timedelta(minutes=3))
    assert text.startswith(
        "Study small: 6 trials (2 finished, 1 stopped, 1 failed, 1 running, 1 to come)\n"
        f"  driver  process {driver.pid} on "
    )
    assert "--resume" not in text
    assert re.search(
        r"^Running\n  under-way: focus 4/6; since \d\d:\d\d \(3 min\), last epoch 3 min ago$",
        text,
        re.M,
    )
    assert "trial.log in the folder trials/TRIAL)\n  broken: the loss is nan\n" in text
    assert "Stopped early\n  behind: after FocusNet epoch 2\n" in text
    assert "  subset 25: 2 of 3 finished, best 50.0 %, good\n" in text
    assert text.endswith("  subset 100: 0 of 3 finished")


def test_a_waiting_trial_shows_what_it_waits_for(ledger, driver):
    folder = start(ledger, "a", [("template", 6)])
    for at in ("waiting for template", "training fold 2 of 5 on 40 of 50 clips"):
        (folder / "waiting.json").write_text(json.dumps({"template": "key", "at": at}))
        assert f"  a: {at}; since" in describe_study(ledger, utc_now())


def test_a_dead_driver_is_shown_with_the_resume_command(ledger, driver, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(ledger)
    driver.kill()
    driver.wait()
    text = describe_study(ledger, utc_now())
    assert "1 interrupted, 1 to come" in text
    assert f"not running; process {driver.pid} on " in text
    assert f"  resume: cd {ROOT} && python study/run.py --space x.yaml --resume\n" in text
    assert "Interrupted, resumed by --resume\n  under-way: focus 4/6" in text
    assert "\nRunning" not in text


def test_trials_of_an_earlier_driver_are_waiting_until_this_one_resumes_them(ledger, driver):
    folder = start(ledger, "old", [("template", 1)])
    started = json.loads((folder / "started.json").read_text())
    record = {**started, "at": "2020-01-01T00:00:00+00:00"}
    (folder / "started.json").write_text(json.dumps(record))
    assert "Waiting\n  old: template 1/6" in describe_study(ledger, utc_now())
    record_start(folder)
    assert "Running\n  old: template 1/6" in describe_study(ledger, utc_now())


def test_a_finished_study_shows_a_command_only_after_failures(ledger, make_space, driver):
    driver.kill()
    driver.wait()
    for subset in (25, 100):
        for index in range(3):
            folder = add_pending(ledger, f"t{subset}-{index}", index=index, subset=subset)
            if (subset, index) != (100, 2):
                finish(folder, 0.5)
    record_end(folder, "failed", "why")
    retry = "  run the failed trials again: "
    text = describe_study(ledger, utc_now())
    assert "Study small: 6 trials (5 finished, 1 failed)\n" in text
    assert "--resume --retry-failed\n" in text.split(retry)[1]
    finish(folder, 0.5)
    text = describe_study(Ledger(ledger.folder), utc_now())
    assert "Study small: 6 trials (6 finished)\n" in text
    assert "--resume" not in text


def test_status_changes_no_file_of_the_study(ledger, driver):
    fill(ledger)
    driver.kill()
    driver.wait()
    (ledger.folder / ".lock").unlink()
    before = {p: p.stat().st_mtime_ns for p in ledger.folder.rglob("*")}
    describe_study(ledger, utc_now())
    assert {p: p.stat().st_mtime_ns for p in ledger.folder.rglob("*")} == before
    assert not is_running(ledger.folder)


def test_the_command_needs_no_tables_and_imports_neither_ray_nor_torch(ledger, tmp_path):
    fill(ledger)
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from study.status import main\n"
        "status = main(sys.argv[1:])\n"
        "print(sorted({'ray', 'torch', 'optuna', 'pandas'} & set(sys.modules)), status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT), "small"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("Study small: 6 trials")
    assert done.stdout.endswith("[] 0\n")
    by_path = status(ledger.folder)
    assert by_path.returncode == 0, by_path.stderr
    assert by_path.stdout.startswith("Study small: 6 trials")


def test_an_unknown_name_is_refused_with_the_studies_that_exist(ledger, tmp_path, capsys):
    assert main(["smal", "--results", str(tmp_path / "results")]) == 2
    shown = capsys.readouterr()
    assert shown.err.endswith("(studies there: small)\n")
    assert shown.out == ""
    with pytest.raises(ConfigError, match=r"no such study in .*nowhere \(it holds none\)"):
        find_study("small", tmp_path / "nowhere")


def test_a_study_that_is_still_preparing_its_data_says_so(tmp_path):
    ledger = Ledger(tmp_path / "early")
    with ledger.locked():
        text = describe_study(ledger, utc_now())
    assert f"process {os.getpid()} on " in text
    assert text.endswith(" is preparing its data; no trial yet")
    assert "ended before the study began" in describe_study(ledger, utc_now())


def test_watch_repeats_until_ctrl_c(ledger):
    command = [sys.executable, str(ROOT / "study" / "status.py"), str(ledger.folder)]
    with subprocess.Popen([*command, "--watch", "0.1"], stdout=subprocess.PIPE, text=True) as seen:
        for _ in range(2):
            while not seen.stdout.readline().startswith("Study small"):
                assert seen.poll() is None
        seen.send_signal(signal.SIGINT)
        assert seen.wait(timeout=20) == 0


def test_a_closed_pipe_is_no_error(ledger):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        ended = subprocess.run(
            [sys.executable, ROOT / "study" / "status.py", ledger.folder],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
