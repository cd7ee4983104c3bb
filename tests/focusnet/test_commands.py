"""The commands of focusnet, started as a user starts them."""

import os
import subprocess
import sys

import pytest
from paths import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("name", ["dataset", "download", "export", "predict", "store"])
def test_each_command_has_help_with_an_example_and_its_exit_statuses(name):
    ended = run(f"focusnet.{name}", "--help")
    assert ended.returncode == 0
    assert not ended.stderr
    assert f"python -m focusnet.{name}" in ended.stdout.partition("example")[2]
    assert "xit status" in ended.stdout


def test_a_data_set_is_checked_from_the_command_line(tiny_dataset):
    ended = run("focusnet.dataset", str(tiny_dataset))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.rstrip().endswith("usable: no problem found")


def test_a_missing_folder_is_status_2():
    ended = run("focusnet.dataset", "/nowhere/at/all")
    assert ended.returncode == 2
    assert "no such folder" in ended.stderr
    assert not ended.stdout
