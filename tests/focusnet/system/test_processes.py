"""Worker processes: results in order, and no worker outlives the process that started it."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from focusnet.errors import DataError
from focusnet.system.processes import run_tasks, worker_processes


def doubled_late(number: int, delay: float) -> list[int]:
    time.sleep(delay)
    return [2 * number, os.getpid()]


def fail(number: int) -> list[int]:
    raise OSError(28, f"no room for {number}")


def talk(number: int) -> list[int]:
    print(f"task {number}", flush=True)
    return [number]


def die(number: int) -> list[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return [number]


@pytest.mark.parametrize("count", [1, 2])
def test_results_are_in_the_order_of_the_tasks(count):
    advanced = []
    with worker_processes(count) as pool:
        found = run_tasks(pool, doubled_late, [(1, 0.3), (2, 0.0), (3, 0.0)], advanced.append)
    assert found[::2] == [2, 4, 6]
    assert advanced == [2, 2, 2]
    assert (set(found[1::2]) == {os.getpid()}) == (count == 1)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_task_reaches_the_caller(count):
    with worker_processes(count) as pool, pytest.raises(OSError, match="no room for 7"):
        run_tasks(pool, fail, [(7,)], lambda _: None)


def test_an_error_in_a_worker_says_where_it_was_raised():
    with worker_processes(2) as pool, pytest.raises(OSError, match="no room") as caught:
        run_tasks(pool, fail, [(7,)], lambda _: None)
    assert "in fail" in caught.value.__notes__[0]


def test_what_a_task_prints_does_not_disturb_its_result(capfd):
    with worker_processes(2) as pool:
        assert run_tasks(pool, talk, [(1,), (2,)], lambda _: None) == [1, 2]
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == ["task 1", "task 2"]


def test_a_task_that_cannot_be_pickled_is_an_error_of_the_caller():
    with worker_processes(2) as pool, pytest.raises((AttributeError, pickle.PicklingError)):
        run_tasks(pool, lambda number: [number], [(1,)], lambda _: None)


def test_workers_end_with_the_pool_even_in_the_middle_of_a_task():
    started = time.monotonic()
    with worker_processes(2) as pool:
        pids = run_tasks(pool, doubled_late, [(0, 0.1), (0, 0.1)], lambda _: None)[1::2]
        pool.submit(time.sleep, 100)
    assert time.monotonic() - started < 50
    assert not any(runs(pid) for pid in pids)


def test_a_killed_worker_is_one_clear_error():
    with worker_processes(2) as pool, pytest.raises(DataError, match=r"killed .* enough memory"):
        run_tasks(pool, die, [(1,), (2,)], lambda _: None)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_workers_end_when_their_parent_is_killed():
    script = """
import os, sys
from focusnet.system.processes import run_tasks, worker_processes
with worker_processes(2) as pool:
    print(pool.submit(os.getpid).result(), pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert all(runs(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in pids if runs(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "workers outlived their parent"


def test_a_script_without_a_main_guard_is_not_run_again_by_the_workers(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from focusnet.system.processes import run_tasks, worker_processes\n"
        "print('top level', flush=True)\n"
        "with worker_processes(2) as pool:\n"
        "    tasks = [([1.0, 2.0],), ([3.0],)]\n"
        "    print(run_tasks(pool, sorted, tasks, lambda _: None))\n"
    )
    ended = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.splitlines() == ["top level", "[1.0, 2.0, 3.0]"], ended.stderr
