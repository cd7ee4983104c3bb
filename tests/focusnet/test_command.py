"""``python -m focusnet`` as a user runs it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from focusnet.__main__ import main
from focusnet.errors import DiskFullError

TRIAL = """\
data: {{root: {root}}}
augment: {{patchout_freq: 0}}
model: {{size: tiny, weights: none, max_frames: 144}}
template: {{epochs: 1, batch_size: 16, lr: 1e-3}}
compute: {{device: cpu}}
"""


def run(*arguments, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "focusnet", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_a_trial_shows_its_epochs_and_its_answer_and_is_never_overwritten(tiny_dataset, tmp_path):
    (tmp_path / "mine.yaml").write_text(TRIAL.format(root=tiny_dataset))
    done = run("--config", "mine.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "mine" / "result.json").is_file()
    shown = [line for line in done.stderr.splitlines() if " epoch 1/1: loss " in line]
    assert [line.split()[0] for line in shown] == ["template", "focus"]
    assert "warm classes per clip: " in done.stdout
    assert " epoch 1/1" not in done.stdout
    log = (tmp_path / "results" / "mine" / "trial.log").read_text()
    assert all(line in log for line in shown)
    again = run("--config", "mine.yaml", folder=tmp_path)
    assert again.returncode == 2
    assert "holds a finished trial already" in again.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {root: x, subset: 4}\nseed: -1\n", "mine.yaml: data.subset: should be greater"),
        ("data: {rot: x}\n", "mine.yaml: data.rot: unknown key (did you mean 'root'?)"),
        ("data: {root: x\n", "mine.yaml, line 2, column 1: not valid YAML"),
        ("space: {}\ntrial: {}\n", "is a search space file"),
        ("", "must hold a mapping of keys to values, received nothing"),
        ("data: {root: nowhere}\nmodel: {size: tiny, weights: none}\n", "nowhere: no such folder"),
    ],
)
def test_wrong_input_is_one_message_and_status_2(text, message, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    ended = run("--config", "mine.yaml", folder=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.stdout


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    (tmp_path / "mine.yaml").write_text("data: {root: x, subset: 4}\nseed: -1\nfocus: {lr: 0}\n")
    ended = run("--config", "mine.yaml", folder=tmp_path)
    assert len(ended.stderr.splitlines()) == 3


def test_help_has_an_example(tmp_path):
    ended = run("--help", folder=tmp_path)
    assert ended.returncode == 0
    assert "python -m focusnet --config trial.yaml" in ended.stdout


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_one_message_and_status_2(tmp_path, monkeypatch, capsys, wrapped):
    def run_trial(*given):
        if wrapped:
            raise DiskFullError(f"{tmp_path}: the disk is full")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "epochs.jsonl"))

    monkeypatch.setattr("focusnet.pipeline.run_trial", run_trial)
    (tmp_path / "mine.yaml").write_text("data: {root: x}\n")
    assert main(["--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path}: the disk")
