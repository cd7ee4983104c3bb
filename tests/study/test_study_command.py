"""study/run.py as a user runs it, with a real Ray."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from paths import ROOT
from study_command import FAKE, command, run

SMALL = ["--set", "trial.template.epochs=2"]


def table(results, name="demo"):
    return pd.read_parquet(results / name / "trials.parquet").set_index("trial").sort_index()


def test_help_shows_an_example(tmp_path):
    done = run(ROOT / "study" / "run.py", tmp_path, "--help")
    assert done.returncode == 0
    assert "python study/run.py --space demo.yaml" in done.stdout


def test_wrong_input_is_one_message_without_a_traceback(tmp_path):
    done = run(
        ROOT / "study" / "run.py", tmp_path, "--set", "search.trials=0", "--set", "trial.dta.root=x"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    unknown, trials = sorted(done.stderr.splitlines(), key=lambda line: "search" in line)
    assert unknown == "demo.yaml: trial.dta: unknown key (did you mean 'data'?)"
    assert trials.startswith("demo.yaml: search.trials: should be greater than or equal to 1")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_set_is_reported_before_ray_starts(tmp_path):
    done = run(ROOT / "study" / "run.py", tmp_path, "--set", "trial.data.root=nowhere")
    assert done.returncode == 2
    assert str(tmp_path / "nowhere") in done.stderr
    assert "Traceback" not in done.stderr
    assert "Ray" not in done.stdout


def test_a_disk_that_is_too_small_is_reported_before_anything_starts(tmp_path):
    huge = "--set=trial.data.synthetic={train_locations: 1000000000}"
    done = run(FAKE, tmp_path, huge)
    assert done.returncode == 2
    needed = r"the study needs \d{4}\.\d TB, \d+\.\d [GT]B are free$"
    assert re.search(needed, done.stderr.splitlines()[0])
    assert "--set trial.data.cache=DIR" in done.stderr.splitlines()[-1]
    assert "--ignore-disk starts the study regardless" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "demo" / "trials").exists()


def test_the_plan_needs_neither_ray_nor_torch(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from study.run import main\n"
        "status = main(sys.argv[1:])\n"
        "print(sorted({'ray', 'torch', 'optuna', 'pandas'} & set(sys.modules)), status)"
    )
    arguments = [str(ROOT), "--space", "focus.yaml", "--plan", "--no-measure"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert re.search(r"Study focus: up to \d+ trials", done.stdout)
    assert done.stdout.endswith("[] 0\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_more_gpus_than_any_node_has_are_refused_at_once(tmp_path):
    done = run(FAKE, tmp_path, "--set", "resources.gpu=64", "--set", "search.trials=1")
    assert done.returncode == 2
    assert re.search(r"^resources\.gpu: a trial asks for 64 GPU, the largest", done.stderr, re.M)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_search_out_of_time_goes_on_with_more_hours(tmp_path):
    hours = "--set=search.hours={}"
    slow = {"FAKE_EPOCH_SECONDS": "0.2"}
    done = run(FAKE, tmp_path, *SMALL, hours.format(0.0002), **slow)
    assert done.returncode == 0, done.stderr
    ended = re.search(r"search +ends after 0.0002 hours .* with (\d) trials", done.stdout)
    first = table(tmp_path)
    assert len(first) == int(ended[1]) < 8
    assert set(first["status"]) == {"finished"}
    again = run(FAKE, tmp_path, *SMALL, hours.format(0.0002), "--resume")
    assert again.returncode == 0, again.stderr
    assert len(table(tmp_path)) == len(first), "its time is over"
    more = run(FAKE, tmp_path, *SMALL, hours.format(1), "--resume")
    assert more.returncode == 0, more.stderr
    assert table(tmp_path)["data.subset"].value_counts().to_dict() == {25: 4, 100: 4}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_study_resumes_to_exactly_its_trials(tmp_path, how):
    log, elsewhere = tmp_path / "log.txt", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with log.open("w") as output:
        study = subprocess.Popen(
            command(FAKE, tmp_path),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=elsewhere,
            env={**os.environ, "FAKE_EPOCH_SECONDS": "0.1"},
        )
        deadline = time.monotonic() + 300
        while log.read_text().count("done     ") < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        elsewhere.rmdir()  # a study does not need the folder of its command
        study.send_signal(how)
        status = study.wait(timeout=120)
    before = table(tmp_path)
    if how == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 130
        script = re.escape(str(ROOT / "study" / "run.py"))
        assert re.search(rf"Go on with: python {script} .*--resume$", log.read_text(), re.M)
        assert set(before["status"]) == {"finished", "pending"}
        provenance = json.loads((tmp_path / "demo" / "provenance.json").read_text())
        assert provenance["runs"][0]["outcome"] == "interrupted"
    finished = before[before["status"] == "finished"]
    assert 2 <= len(finished) < 8

    resumed = run(FAKE, tmp_path, "--resume", "--quiet", FAKE_EPOCH_SECONDS="0.01")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip().startswith("Winners by")
    assert (tmp_path / "demo" / "study.log").read_text().count("Study demo: ") == 2
    after = table(tmp_path)
    assert after["status"].tolist() == ["finished"] * 8
    assert after["data.subset"].value_counts().to_dict() == {25: 4, 100: 4}
    pd.testing.assert_frame_equal(after.loc[finished.index, finished.columns], finished)
    assert set(before.index) <= set(after.index)
    winners = after.groupby("data.subset")["focus/select/macro_accuracy"].idxmax()
    kept = {path.parent.name for path in tmp_path.glob("demo/trials/*/weights.safetensors")}
    assert kept == set(winners)


@pytest.mark.slow
def test_winners_are_confirmed_with_fresh_seeds_after_a_kill(tmp_path):
    options = [
        *SMALL,
        "--set=search.trials=2",
        "--set=search.winner=best_observed",
        "--set=controls={arms: [cross_entropy, placebo]}",
        "--set=confirm={seeds: 2}",
    ]
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        study = subprocess.Popen(
            command(FAKE, tmp_path, *options), stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path
        )
        deadline = time.monotonic() + 300
        while not re.search(r"done .*seed[12]", log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        study.kill()
        study.wait(timeout=120)
    before = table(tmp_path)
    assert set(before["phase"]) == {"search", "controls", "confirm"}
    resumed = run(FAKE, tmp_path, *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Confirmation: macro accuracy" in resumed.stdout
    after = table(tmp_path)
    assert after["status"].tolist() == ["finished"] * 20
    search = after[after["phase"] == "search"]
    winners = search.groupby("data.subset")["focus/select/macro_accuracy"].idxmax()
    rest = after[after["phase"] != "search"]
    assert rest["winner"].tolist() == rest["data.subset"].map(winners).tolist()
    each = rest.groupby(["data.subset", "phase", "arm"])["seed"].apply(sorted).to_dict()
    assert each == {
        (subset, phase, arm): seeds
        for subset in (25, 100)
        for phase, seeds, arms in (
            ("controls", [0], ["cross_entropy", "placebo"]),
            ("confirm", [1, 2], ["focusnet", "cross_entropy", "placebo"]),
        )
        for arm in arms
    }
    finished = before[before["status"] == "finished"]
    pd.testing.assert_frame_equal(after.loc[finished.index, finished.columns], finished)
    kept = {path.parent.name for path in tmp_path.glob("demo/trials/*/weights.safetensors")}
    assert kept == set(winners), "a trial that confirms does not replace the winner"

    more = run(FAKE, tmp_path, *options, "--set=confirm.seeds=3", "--confirm")
    assert more.returncode == 0, more.stderr
    assert table(tmp_path)["seed"].value_counts().to_dict() == {0: 8, 1: 6, 2: 6, 3: 6}
    refused = run(FAKE, tmp_path, *options, "--set=search.trials=3", "--confirm")
    assert refused.returncode == 2
    assert "the search in" in refused.stderr
    assert "has not ended (4 of 6 trials have)" in refused.stderr


@pytest.mark.slow
def test_failed_trials_are_reported_and_the_study_goes_on(tmp_path):
    grid = [
        "--set=search.algorithm=grid",
        "--set=search.trials=null",
        "--set=space.data.subset={choice: [50]}",
        "--set=space.focus.weight={choice: [1]}",
        "--set=space.focus.threshold=null",
        # 2 runs; the worker of 97 is killed once, that of 98 always; 99 raises an error
        "--set=space.focus.temperature={choice: [99, 98, 97, 2]}",
        "--set=resources.retries=1",
    ]
    done = run(FAKE, tmp_path, *SMALL, *grid)
    assert done.returncode == 1
    rows = table(tmp_path).set_index("focus.temperature")
    assert rows["status"].to_dict() == {99: "failed", 98: "failed", 97: "finished", 2: "finished"}
    assert rows["attempts"].to_dict() == {99: 1, 98: 2, 97: 2, 2: 1}
    assert rows.loc[99, "error"] == "ValueError: the loss is not finite"
    assert "worker process died 2 times" in rows.loc[98, "error"]
    assert "2 of 4 trials failed" in done.stderr
    assert "the loss is not finite" in done.stderr
    assert re.search(r"FAILED .*\(see trials/.*99-.*/error.txt and trial.log\)$", done.stdout, re.M)
    assert "(raylet)" not in done.stdout + done.stderr
    again = run(FAKE, tmp_path, *SMALL, *grid)
    assert again.returncode == 2
    assert "2 of 4 trials finished, 2 failed" in again.stderr


@pytest.mark.slow
def test_tpe_with_asha_stops_trials_early_and_keeps_its_quota(tmp_path):
    options = [
        "--set=search.algorithm=tpe",
        "--set=search.trials=12",
        "--set=search.scheduler={name: asha, grace_epochs: 1, reduction_factor: 2}",
        "--set=trial.template.epochs=5",
        "--set=trial.compute.eval_epochs=1",
    ]
    done = run(FAKE, tmp_path, *options, FAKE_EPOCH_SECONDS="0.01")
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert rows["data.subset"].value_counts().to_dict() == {25: 12, 100: 12}
    assert not rows.duplicated(["data.subset", "focus.weight", "focus.threshold"]).any()
    stopped = rows[rows["status"] == "stopped"]
    assert set(rows["status"]) == {"finished", "stopped"}
    assert set(stopped["data.subset"]) == {25, 100}
    assert stopped["focus/select/macro_accuracy"].notna().all()
    assert stopped["focus/report/macro_accuracy"].isna().all()
    assert not list(tmp_path.rglob("checkpoint.pt")), "a stopped trial needs no checkpoint"


@pytest.mark.slow
def test_real_trials_leave_complete_results_whatever_the_concurrency(tmp_path, tiny_dataset):
    tables = []
    for side_by_side in (1, 2):
        results = tmp_path / str(side_by_side)
        done = run(
            ROOT / "study" / "run.py",
            results,
            *SMALL,
            f"--set=trial.data.root={tiny_dataset}",
            "--set=space.data.subset={choice: [50, 100]}",
            "--set=search.trials=2",
            f"--set=resources.max_concurrent={side_by_side}",
            FOCUSNET_CACHE=str(results / "cache"),
        )
        assert done.returncode == 0, done.stderr
        tables.append(table(results))
    measured = [name for name in tables[0] if "/" in name and "seconds" not in name]
    assert "focus/report/macro_accuracy" in measured
    assert "focus/warm_classes" in measured
    pd.testing.assert_frame_equal(tables[0][measured], tables[1][measured], check_exact=True)
    assert tables[0]["template_key"].tolist() == tables[1]["template_key"].tolist()

    study = results / "demo"
    names = set(tables[1].index)
    assert {file.stem for file in (study / "predictions").iterdir()} == names
    assert set(pd.read_parquet(study / "epochs.parquet")["trial"]) == names
    in_order = pd.read_parquet(study / "trials.parquet").set_index("trial")  # first of equals wins
    winners = in_order.groupby("data.subset")["focus/select/macro_accuracy"].idxmax()
    kept = {path.parent.name for path in study.glob("trials/*/weights.safetensors")}
    assert kept == set(winners)
    assert not list(study.glob("trials/**/*.part")) + list(study.glob("trials/**/checkpoint*"))
    assert {file.parent.name for file in study.glob("ray/*/*/events.out.*")} == names
    assert (study / "optuna.journal").stat().st_size > 0
    provenance = json.loads((study / "provenance.json").read_text())
    assert provenance["runs"][0]["outcome"] == "done"
    assert (
        provenance["data"][0]["clips"]
        == len((tiny_dataset / "meta.csv").read_text().splitlines()) - 1
    )
    for noise in ("WARNING", "Warning", "Traceback", "ray.tune", "(raylet)", "hear21passt"):
        assert noise not in done.stdout + done.stderr
