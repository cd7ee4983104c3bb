"""A study of students as a user runs it, with a real Ray and a driver that is really killed."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT
from study_command import run

pytestmark = pytest.mark.slow

RUN = ROOT / "study" / "run.py"
OPTIONS = [
    "--space=demo-student.yaml",
    "--set=search.trials=2",
    "--set=search.winner=null",
    "--set=controls.arms=[placebo,template,labels]",
    "--set=confirm.seeds=2",
    "--set=trial.student.teachers=ensemble",
    "--set=trial.student.epochs=2",
    "--set=trial.template.epochs=2",
    "--set=trial.data.synthetic={train_locations: 3, test_locations: 2, clips_per_location: 2}",
]


def options(cache: Path) -> list[str]:
    return [*OPTIONS, f"--set=trial.data.cache={cache}"]


def table(results: Path) -> pd.DataFrame:
    found = pd.read_parquet(results / "demo-student" / "trials.parquet")
    return found.set_index("trial").sort_index()


def without_times(found: pd.DataFrame) -> pd.DataFrame:
    metrics = [name for name in found if "/" in name and not name.endswith("seconds")]
    return found[["arm", "seed", "phase", "status", *sorted(metrics)]]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = run(RUN, folder, *options(folder / "cache"))
    assert done.returncode == 0, done.stderr
    assert "student, the template as teacher" in done.stdout
    assert "nan" not in done.stdout
    return folder


def test_every_arm_has_a_student_and_the_teacher_that_it_should(uninterrupted):
    found = table(uninterrupted)
    assert found["status"].eq("finished").all()
    assert found["student/report/macro_accuracy"].notna().all()
    by_arm = found[found["phase"] == "confirm"].groupby("arm")
    assert by_arm.size().to_dict() == {"focusnet": 2, "placebo": 2, "template": 2, "labels": 2}
    assert by_arm["teacher_key"].nunique().to_dict() == {
        "focusnet": 2, "labels": 0, "placebo": 2, "template": 0,
    }  # fmt: skip
    assert found["student_key"].nunique() == len(found)
    assert found.loc[found["arm"] == "labels", "template_key"].isna().all()
    # Each ensemble trained both teachers of its arm once, whichever trial came first.
    store = uninterrupted / "cache" / "teachers"
    kept = {path.name for path in store.iterdir() if path.is_dir()}
    assert kept == set(found["teacher_key"].dropna())
    assert not list(store.glob("*/weights.safetensors"))


def test_a_killed_study_of_students_ends_with_the_same_results(uninterrupted, tmp_path):
    log = tmp_path / "log.txt"
    command = [sys.executable, str(RUN), "--results", str(tmp_path), *options(tmp_path / "cache")]
    command += ["--set=controls.seeds=[]"]
    with log.open("w") as output:
        study = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
        deadline = time.monotonic() + 200
        while log.read_text().count(" done ") < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        study.kill()
        study.wait(timeout=60)
    resumed = run(RUN, tmp_path, *options(tmp_path / "cache"), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    pd.testing.assert_frame_equal(
        without_times(table(tmp_path)), without_times(table(uninterrupted))
    )


def test_its_report_begins_with_the_students(uninterrupted):
    report = [sys.executable, ROOT / "analysis" / "report.py", uninterrupted / "demo-student"]
    shown = subprocess.run(report, capture_output=True, text=True, check=True).stdout
    title, first, *_ = shown.split("\n\n")
    assert title == "Study demo-student: does FocusNet help?"
    assert first.startswith("The student taught by FocusNet")
    assert "nan" not in shown
