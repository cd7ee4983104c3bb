"""What the command prints if Ray or the study itself fails midway."""

import pytest

import study.tune.cluster
import study.tune.run_search
from study.console.failure import INTERRUPTED, WRONG_INPUT
from study.run import main


def run(tmp_path, monkeypatch, error, *options):
    def give_up(*args, **kwargs):
        raise error

    node = {"CPU": 2.0}
    there = study.tune.cluster.Cluster(dashboard=None, local=True, nodes=(node,))
    monkeypatch.setattr(study.tune.cluster, "start", lambda *args: there)
    monkeypatch.setattr(study.tune.cluster, "stop", lambda: None)
    monkeypatch.setattr(study.tune.run_search, "run_search", give_up)
    return main(["--results", str(tmp_path), *options], prepare=lambda space: [], run_trial=print)


def test_an_error_of_ray_is_one_line_and_the_command_to_resume(
    tmp_path, monkeypatch, capsys, handlers
):
    from ray.exceptions import OutOfMemoryError

    # As Tune wraps it.
    error = RuntimeError("Caught unexpected exception")
    error.__cause__ = OutOfMemoryError("the node runs low on memory\nTop 10 memory users: ...")
    assert run(tmp_path, monkeypatch, error) == INTERRUPTED
    told = capsys.readouterr().err
    assert "Ray ended the study: the node runs low on memory\n" in told
    assert told.endswith("--resume\n")
    assert "Top 10 memory users" not in told
    assert "Top 10 memory users" in (tmp_path / "demo" / "ray_error.txt").read_text()


def test_an_error_of_the_program_keeps_its_traceback(tmp_path, monkeypatch, capsys, handlers):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, monkeypatch, ZeroDivisionError("ours"))
    assert capsys.readouterr().err.endswith("--resume\n")
    assert not (tmp_path / "demo" / "ray_error.txt").exists()


def test_study_log_has_what_quiet_hides_and_grows_when_the_study_resumes(
    tmp_path, monkeypatch, capsys, handlers
):
    shown = []
    for options in (["--quiet"], ["--resume", "--verbose"]):
        with pytest.raises(ZeroDivisionError):
            run(tmp_path, monkeypatch, ZeroDivisionError("ours"), *options)
        shown.append(capsys.readouterr().out)
    assert shown[0] == ""
    assert "Study demo: " in shown[1]
    assert "slots    2 trials side by side\n" in shown[1]
    log = (tmp_path / "demo" / "study.log").read_text()
    assert log.count("INFO    Study demo: ") == log.count("INFO    end      failed\n") == 2
    assert log.count("slots") == 1


def test_a_disk_that_seems_too_small_can_be_ignored(tmp_path, monkeypatch, capsys, handlers):
    huge = "--set=trial.data.synthetic={train_locations: 1000000000}"
    begun = ZeroDivisionError("the search began")
    assert run(tmp_path, monkeypatch, begun, huge) == WRONG_INPUT
    assert "--ignore-disk" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="the search began"):
        run(tmp_path, monkeypatch, begun, huge, "--ignore-disk")
