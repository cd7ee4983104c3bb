"""A study at an S3 address: s3fs over HTTP against the server of moto, a process of its own."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import fsspec
import pandas as pd
import pytest
from paths import ROOT, SUPPORT

pytest.importorskip("s3fs", reason="needs s3fs (requirements-optional.txt)")
pytest.importorskip("moto.server", reason="needs moto (requirements-optional.txt)")

PATIENCE = 250  # seconds, on a machine with other things to do
ADDRESS = "s3://bucket/studies"
SMALL = [
    "--set=search.trials=3",
    "--set=trial.template.epochs=6",
    "--set=controls.arms=[]",
    "--set=confirm.seeds=0",
]


@pytest.fixture
def server():
    """The address of an S3 server with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                request = urllib.request.Request(f"{address}/bucket", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.2)
        yield address
    finally:
        process.kill()
        process.wait()


def environment(server, cache, **more):
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": server,
        "FOCUSNET_CACHE": str(cache),
        **more,
    }


def study(*options, script=SUPPORT / "fake_study.py"):
    return [sys.executable, str(script), f"--results={ADDRESS}", *SMALL, *options]


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


def table(folder):
    """trials.parquet without what may differ: times and attempts."""
    rows = pd.read_parquet(folder / "demo" / "trials.parquet").sort_values("trial")
    return rows.drop(columns=["seconds", "started", "ended", "attempts"]).reset_index(drop=True)


@pytest.mark.slow
def test_a_study_in_a_bucket_resumes_from_another_machine_after_its_driver_was_killed(
    server, tmp_path
):
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        driver = subprocess.Popen(
            study(),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env=environment(server, tmp_path / "first", FAKE_EPOCH_SECONDS="0.3"),
        )
        deadline = time.monotonic() + PATIENCE
        while log.read_text().count("done     ") < 2:
            assert time.monotonic() < deadline, log.read_text()
            assert driver.poll() is None, log.read_text()
            time.sleep(0.1)
        driver.kill()
        driver.wait()
    shutil.rmtree(tmp_path / "first")  # the machine is lost

    elsewhere = environment(server, tmp_path / "second", FAKE_EPOCH_SECONDS="0.01")
    status = [sys.executable, str(ROOT / "study" / "status.py"), f"{ADDRESS}/demo"]
    seen = run(status, cwd=tmp_path, env=elsewhere)
    assert seen.returncode == 0, seen.stderr
    assert re.search(r"Study demo: 6 trials \([1-5] finished", seen.stdout)

    # The next driver would wait until the lease of the killed one has run out.
    store = fsspec.filesystem("s3", key="me", secret="secret", endpoint_url=server)
    store.rm(f"{ADDRESS}/demo/.lease")  # as a user may who knows that the driver is dead
    resumed = run(study("--resume"), cwd=tmp_path, env=elsewhere)
    assert resumed.returncode == 0, resumed.stderr

    copy = tmp_path / "copies" / "demo"
    fetch = [sys.executable, str(ROOT / "study" / "fetch.py"), f"{ADDRESS}/demo", str(copy)]
    assert run(fetch, env=elsewhere).returncode == 0
    local = study(f"--results={tmp_path / 'local'}")
    undisturbed = run(local, env=elsewhere)
    assert undisturbed.returncode == 0, undisturbed.stderr
    pd.testing.assert_frame_equal(table(copy.parent), table(tmp_path / "local"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("results", "gone", "words"),
    [
        ("s3://nobucket/studies", False, r"^--results s3://nobucket/studies/demo: .*bucket"),
        (ADDRESS, True, r"^--results s3://bucket/studies/demo: .*127\.0\.0\.1"),
    ],
)
def test_a_bucket_or_server_that_is_not_there_is_one_message(
    server, tmp_path, results, gone, words
):
    address = "http://127.0.0.1:9" if gone else server
    env = environment(address, tmp_path / "cache", AWS_MAX_ATTEMPTS="1")
    command = [sys.executable, str(ROOT / "study" / "run.py"), f"--results={results}"]
    done = run(command, cwd=tmp_path, env=env)
    assert done.returncode == 2, done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
