"""A trial killed while it trains its teacher or student resumes to the same results, to the bit."""

import shutil
import signal
from collections import Counter
from pathlib import Path

import killed_processes
import pytest
import torch
from killed_processes import STUDENT, die_around, start, tell

import focusnet.pipeline
import focusnet.student.training
import focusnet.training.loop
import focusnet.trial.teachers
from focusnet.pipeline import run_trial
from focusnet.trial.folder import TrialFolder

pytestmark = pytest.mark.slow
EPOCHS = killed_processes.EPOCHS
STAGES = ("template", "focus", "student")


def settings(root: Path, cache: Path) -> dict:
    student = STUDENT | {"epochs": EPOCHS, "keep": "best"}
    return killed_processes.settings(root, cache) | {"student": student}


def content(result, out: Path) -> tuple:
    student = (out / "student.safetensors").read_bytes()
    return (*killed_processes.content(result, out), student)


@pytest.fixture(scope="module")
def uninterrupted(tiny_dataset: Path, tmp_path_factory) -> tuple[tuple, Path]:
    """Results of a trial that is not killed, and a cache with nothing but its audio."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = run_trial(settings(tiny_dataset, folder / "cache"), folder / "out")
    for kind in ("templates", "teachers", "students"):
        shutil.rmtree(folder / "cache" / kind)
    return content(result, folder / "out"), folder / "cache"


def run_and_die(trial: dict, out: Path, moment: str) -> None:
    die_around(*MOMENTS[moment][:4])
    run_trial(trial, out, lambda record: tell(out, record))


# Five batches an epoch in each stage; see MOMENTS of the trials without a student.
MOMENTS = {
    "teacher, amid epoch 2": (focusnet.training.loop.Stage, "training_step", 22, False, ""),
    "teacher, not complete": (focusnet.trial.teachers, "write_stage", 1, True, ""),
    "student, amid epoch 1": (focusnet.training.loop.Stage, "training_step", 32, False, ""),
    "student, amid epoch 3": (focusnet.training.loop.Stage, "training_step", 43, False, ""),
    "student, epoch 2 written, not renamed": (torch, "save", 2 * EPOCHS + 2, True, ""),
    "student, epoch 2 told, not recorded": (
        TrialFolder, "add", 2 * EPOCHS + 2, False, "student 2",
    ),
    "student, not complete": (focusnet.student.training, "write_stage", 1, True, ""),
    "student, no result yet": (focusnet.pipeline, "write_json", 1, False, ""),
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_trial_killed_in_its_teacher_or_student_resumes_to_the_same_result(
    moment, tiny_dataset, uninterrupted, tmp_path
):
    shutil.copytree(uninterrupted[1], tmp_path / "cache")
    trial, out = settings(tiny_dataset, tmp_path / "cache"), tmp_path / "out"
    process = start(run_and_die, trial, out, moment)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    result = run_trial(trial, out, lambda record: tell(out, record))
    assert content(result, out) == uninterrupted[0]
    once = Counter(f"{stage} {epoch + 1}" for stage in STAGES for epoch in range(EPOCHS))
    twice = MOMENTS[moment][4]
    assert killed_processes.told(out) == once + Counter([twice] if twice else [])
    left = {path.name for path in (*out.rglob("*"), *(tmp_path / "cache").rglob("*"))}
    assert not {name for name in left if "checkpoint" in name or "building" in name}
