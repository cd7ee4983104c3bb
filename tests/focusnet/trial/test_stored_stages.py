"""The store of templates, with processes that start together and processes that are killed."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from focusnet.trial.stored_stages import get_or_build


def build_slowly(store: Path, log: Path, seconds: float) -> None:
    """What a process runs: build a template that takes ``seconds``, logging who built."""

    def build(folder: Path) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        (folder / "half.txt").write_text("half")
        time.sleep(seconds)
        (folder / "whole.txt").write_text("whole")

    template = get_or_build(store, "key", build)
    assert (template.folder / "whole.txt").exists()


def start(store: Path, log: Path, seconds: float) -> multiprocessing.Process:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=build_slowly, args=(store, log, seconds))
    process.start()
    return process


def wait_for_builders(log: Path, count: int) -> list[int]:
    for _ in range(400):
        builders = [int(pid) for pid in log.read_text().split()] if log.exists() else []
        if len(builders) >= count:
            return builders
        time.sleep(0.05)
    pytest.fail(f"no {count} builders in 20 s")


def test_processes_that_start_at_once_build_a_template_once(tmp_path: Path):
    processes = [start(tmp_path / "store", tmp_path / "log", 0.5) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 3
    assert len((tmp_path / "log").read_text().split()) == 1


def test_a_waiter_takes_over_when_the_builder_is_killed(tmp_path: Path):
    store, log = tmp_path / "store", tmp_path / "log"
    builder = start(store, log, 60)
    wait_for_builders(log, 1)
    waiter = start(store, log, 0.1)
    time.sleep(0.5)
    assert not (store / "key").exists(), "a half-built template under its key"
    os.kill(builder.pid, signal.SIGKILL)
    waiter.join(60)
    assert waiter.exitcode == 0
    assert wait_for_builders(log, 2) == [builder.pid, waiter.pid]
    assert (store / "key" / "whole.txt").exists()


def test_a_builder_that_fails_leaves_nothing_and_the_next_one_builds(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        get_or_build(tmp_path, "key", fail)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["key.lock"])
    template = get_or_build(tmp_path, "key", lambda folder: None)
    assert template.folder.is_dir()
    assert get_or_build(tmp_path, "key", fail) == template
