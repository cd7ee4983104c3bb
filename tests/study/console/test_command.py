"""The command as it is written again, for resuming and in the summary."""

from pathlib import Path

from paths import ROOT

from study.console.command import Command


def test_flags_are_added_once_and_arguments_are_quoted():
    command = Command(("--set", "a=[1, 2]", "--resume"), ROOT)
    assert command.resume("--retry-failed") == (
        "python study/run.py --set 'a=[1, 2]' --resume --retry-failed"
    )


def test_paths_are_relative_to_the_folder_of_the_command_while_that_exists(tmp_path):
    folder = tmp_path / "a b"
    command = Command((), folder)
    folder.mkdir()
    assert command.shown(folder / "results") == "results"
    assert command.shown(Path("/else where")) == "'/else where'"
    folder.rmdir()
    assert command.shown(folder / "results") == f"'{folder}/results'"
    assert command.resume() == f"python {ROOT}/study/run.py --resume"
