"""A study on a cluster of several nodes, and the check of its nodes before it begins."""

import importlib
import os
import subprocess
import sys
import time

import pandas as pd
import pytest
from paths import ROOT, SUPPORT

from study.tune.cluster import _treat_out_of_memory_as_worker_death, ray_message
from study.tune.nodes import _node_task, paths_read


@pytest.fixture
def probe(tmp_path):
    path = tmp_path / "results" / ".probe"
    path.parent.mkdir()
    path.write_text("token")
    return path


def test_a_node_that_lacks_nothing_has_no_problems(probe, tmp_path):
    assert _node_task()(str(probe), "token", [str(tmp_path)], ["json"]) == []


def test_a_node_names_the_paths_and_modules_that_it_lacks(probe, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    another = probe.with_name(".another")
    assert _node_task()(
        str(another), "token", [str(tmp_path), nowhere], ["json", "no_such_a", "no_b"]
    ) == [
        f"does not see the results folder {probe.parent}",
        f"has no {nowhere}",
        "cannot import no_such_a, no_b",
    ]
    # A folder of the same name that is not the same folder.
    assert _node_task()(str(probe), "another token", [], []) == [
        f"does not see the results folder {probe.parent}"
    ]


def test_the_task_is_pickled_so_that_it_runs_without_the_project(probe):
    from ray import cloudpickle

    # A node without the project: here it may be installed, by a path of its root.
    program = (
        "import os, pickle, sys\n"
        "sys.path = [p for p in sys.path if os.path.realpath(p) != sys.argv[2]]\n"
        "lacks = pickle.loads(sys.stdin.buffer.read())\n"
        "print(lacks(sys.argv[1], 'token', [], ['study']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(probe), str(ROOT)],
        input=cloudpickle.dumps(_node_task()),
        capture_output=True,
        cwd=probe.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False,
    )
    assert done.stdout.decode() == "['cannot import study']\n", done.stderr.decode()


def test_paths_read_are_the_absolute_ones_of_settings_and_choices(make_space):
    assert paths_read(make_space()) == []  # synthetic, no weights
    space = make_space(
        (("space", "data.root"), {"choice": ["/data/a", "/data/b"]}),
        (("trial", "data"), ...),
        (("trial", "augment"), {"dir_folder": "/data/responses"}),
        (("trial", "model"), {"size": "passt_s", "weights": "audioset"}),
    )
    assert paths_read(space) == ["/data/a", "/data/b", "/data/responses"]


def test_out_of_memory_counts_as_a_worker_death_and_keeps_its_message(monkeypatch):
    from ray.exceptions import OutOfMemoryError, RayActorError

    error = OutOfMemoryError("the node is low on memory")
    wrapped = RuntimeError("caught")
    wrapped.__cause__ = error
    assert ray_message(wrapped) == "the node is low on memory"
    assert ray_message(RuntimeError("ours")) is None

    names = ("ray.air.execution._internal.actor_manager", "ray.tune.execution.tune_controller")
    modules = [importlib.import_module(name) for name in names]
    for module in modules:
        monkeypatch.setattr(module, "RayActorError", RayActorError)
        assert not isinstance(error, module.RayActorError)
    _treat_out_of_memory_as_worker_death()
    for module in modules:
        assert isinstance(error, module.RayActorError)
        assert isinstance(RayActorError(), module.RayActorError)


@pytest.fixture
def cluster():
    """A cluster of a head and two nodes; a line written to it kills a node."""
    command = [sys.executable, str(SUPPORT / "three_nodes.py")]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait(timeout=60)


def study(address, results, *options):
    return [
        sys.executable,
        str(SUPPORT / "fake_study.py"),
        f"--address={address}",
        f"--results={results}",
        "--set=controls.arms=[]",
        "--set=confirm.seeds=0",
        *options,
    ]


@pytest.mark.slow
def test_a_study_survives_the_loss_of_a_node_with_a_trial_on_it(tmp_path, cluster):
    address = cluster.stdout.readline().strip()
    nowhere = f"--set=trial.augment.dir_folder={tmp_path}/nowhere"
    refused = subprocess.run(
        study(address, tmp_path, nowhere), capture_output=True, text=True, timeout=120
    )
    assert refused.returncode == 2
    problems = refused.stderr.splitlines()
    assert len(problems) == 3  # each of the nodes that can run trials, and what to do
    assert all(line.endswith(f"has no {tmp_path}/nowhere") for line in problems[:2])
    assert "on shared storage" in problems[2]

    log = tmp_path / "log.txt"
    with log.open("w") as output:
        running = subprocess.Popen(
            study(address, tmp_path, "--set=search.trials=3"),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "FAKE_EPOCH_SECONDS": "0.1"},
        )
        deadline = time.monotonic() + 120
        # When the fourth trial starts, each node has begun its second one, of nearly 4 seconds.
        while log.read_text().count("start    ") < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        cluster.stdin.write("\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "killed\n"
        assert running.wait(timeout=200) == 0, log.read_text()
    assert "its worker died" in log.read_text()
    rows = pd.read_parquet(tmp_path / "demo" / "trials.parquet")
    assert rows["status"].tolist() == ["finished"] * 6
    assert rows["data.subset"].value_counts().to_dict() == {25: 3, 100: 3}
    assert rows["attempts"].max() == 2
    assert not list(tmp_path.rglob(".probe-*"))
