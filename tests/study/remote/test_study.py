"""The real command, with a driver and nodes that share nothing but an address."""

import json
import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
from paths import ROOT, SUPPORT

from study.fetch import main as fetch
from study.status import main as status

PATIENCE = 250  # seconds, on a machine with other things to do
SMALL = [
    "--set=search.trials=3",
    "--set=trial.template.epochs=8",
    "--set=controls.arms=[]",
    "--set=confirm.seeds=0",
]


def command(results, *options, script=SUPPORT / "fake_study.py"):
    return [sys.executable, str(script), f"--results={results}", *options]


def wait_for(condition, log):
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition(), log.read_text()


def table(folder):
    """trials.parquet without what may differ: times and attempts."""
    rows = pd.read_parquet(folder / "demo" / "trials.parquet").sort_values("trial")
    return rows.drop(columns=["seconds", "started", "ended", "attempts"]).reset_index(drop=True)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nosuch://bucket", "nosuch://bucket: ValueError: Protocol not known: nosuch"),
        ("file:///proc/studies", "--results file:///proc/studies/demo: "),
    ],
)
def test_an_unusable_address_gives_one_message(tmp_path, address, words):
    done = subprocess.run(
        command(address, script=ROOT / "study" / "run.py"),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "FOCUSNET_CACHE": str(tmp_path / "cache")},
        timeout=100,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(words)
    assert "Traceback" not in done.stderr
    assert "Ray" not in done.stdout


def test_the_plan_shows_the_address_and_a_local_one_does_not_import_fsspec(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from study.run import main\n"
        "main([*sys.argv[1:], '--plan', '--no-measure']); print('fsspec' in sys.modules)"
    )
    for results, imported in ((tmp_path / "here", False), (f"file://{tmp_path}/there", True)):
        done = subprocess.run(
            [sys.executable, "-c", program, str(ROOT), f"--results={results}"],
            capture_output=True,
            text=True,
            env={**os.environ, "FOCUSNET_CACHE": str(tmp_path / "cache")},
            check=True,
        )
        assert done.stdout.endswith(f"{imported}\n")
        assert (f"address      file://{tmp_path}/there/demo" in done.stdout) == imported
    assert list(tmp_path.iterdir()) == []


def test_a_missing_study_is_reported(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "space.yaml").touch()
    assert status([f"file://{tmp_path}/demo"]) == 2
    assert capsys.readouterr().err == (
        f"demo: no such study at file://{tmp_path} (studies there: other)\n"
    )
    assert fetch([f"file://{tmp_path}/demo", str(tmp_path / "copy")]) == 2
    assert "there is no study" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_survives_the_loss_of_a_node_the_network_the_driver_and_its_disk(tmp_path, capsys):
    remote, log = tmp_path / "remote", tmp_path / "log.txt"
    address = f"file://{remote}"

    def start(cache, *options):
        with log.open("a") as output:
            return subprocess.Popen(
                command(address, *SMALL, *options),
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "FAKE_EPOCH_SECONDS": "0.1",
                    "FOCUSNET_CACHE": str(tmp_path / cache),
                },
            )

    cluster = subprocess.Popen(
        [sys.executable, str(SUPPORT / "three_nodes.py"), str(tmp_path / "nodes")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        join = f"--address={cluster.stdout.readline().strip()}"
        driver = start("first", join)
        wait_for(lambda: log.read_text().count("start    ") >= 3, log)
        time.sleep(0.3)
        cluster.stdin.write("\n")
        cluster.stdin.flush()
        assert cluster.stdout.readline() == "killed\n"
        wait_for(lambda: "its worker died" in log.read_text(), log)
        wait_for(lambda: log.read_text().count("done     ") >= 2, log)
        # An outage: a file replaces the folder at the address.
        remote.rename(tmp_path / "away")
        remote.touch()
        wait_for(lambda: f"no connection to file://{remote}/demo" in log.read_text(), log)
        remote.unlink()
        (tmp_path / "away").rename(remote)
        wait_for(lambda: "connected again" in log.read_text(), log)
        wait_for(lambda: log.read_text().count("done     ") >= 3, log)
        assert status([f"{address}/demo"]) == 0
        assert ", running for" in capsys.readouterr().out
        driver.kill()
        driver.wait()
        shutil.rmtree(tmp_path / "first")
        (remote / "demo" / ".lease").unlink()  # as a user may who knows that the driver is dead
        resumed = start("second", join, "--resume")
        assert resumed.wait(timeout=PATIENCE) == 0, log.read_text()
        uninterrupted = subprocess.run(
            command(tmp_path / "local", *SMALL, join),
            env={**os.environ, "FAKE_EPOCH_SECONDS": "0.005"},
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
        )
        assert uninterrupted.returncode == 0
    finally:
        cluster.stdin.close()
        cluster.wait(timeout=60)
    words = log.read_text()
    assert words.count("no connection to") == words.count("connected again") == 1
    assert {path.name for path in (tmp_path / "nodes").iterdir()} == {"node0", "node1"}

    copy = tmp_path / "copies" / "demo"
    assert fetch([f"{address}/demo", str(copy)]) == 0
    pd.testing.assert_frame_equal(table(copy.parent), table(tmp_path / "local"))
    kept = sorted(path.parent.name for path in remote.glob("demo/trials/*/weights.safetensors"))
    also = (tmp_path / "local").glob("demo/trials/*/weights.safetensors")
    assert kept == sorted(path.parent.name for path in also)
    assert not list(remote.rglob("checkpoint.pt")) + list(remote.rglob("*.part"))
    assert not list(remote.rglob(".lease")) + list(remote.rglob(".probe*"))
    runs = json.loads((copy / "provenance.json").read_text())["runs"]
    assert [run["outcome"] for run in runs] == [None, "done"]
    assert list(copy.glob("ray/*/*/events.out.*"))
    assert fetch([f"{address}/demo", str(copy)]) == 0
    assert "0 new or changed files" in capsys.readouterr().out
    assert fetch([f"{address}/demo", str(tmp_path / "local" / "demo")]) == 2
    assert "holds other files" in capsys.readouterr().err
