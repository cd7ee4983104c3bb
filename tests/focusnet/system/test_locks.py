"""File locks: waiting, time-outs, and the error on a file system without locks."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import Timeout
from paths import ROOT

from focusnet.errors import ConfigError
from focusnet.synthetic.generate import ensure_dataset
from focusnet.system.locks import held
from focusnet.trial.stored_stages import get_or_build
from study.ledger.ledger import Ledger

HOLD = """
import sys
from pathlib import Path
from focusnet.system.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.lock"


@pytest.fixture
def holder(path: Path):
    """A process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_wait_ends_when_the_holder_is_killed(path, holder):
    waited = []

    def kill_later(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            holder.kill()

    with held(path, while_waiting=kill_later):
        pass
    assert waited[0] == 0
    assert waited == sorted(waited)
    assert len(waited) >= 3


def test_a_wait_ends_at_its_timeout_or_with_an_exception_of_the_callback(path, holder):
    def stop(seconds: float) -> None:
        if seconds:
            raise SystemExit

    with pytest.raises(SystemExit), held(path, while_waiting=stop):
        pytest.fail("two holders")
    with pytest.raises(Timeout), held(path, seconds=0.3):
        pytest.fail("two holders")
    holder.kill()
    with held(path):  # neither holds the lock
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_an_error_wherever_a_lock_is_needed(
    number, monkeypatch, tmp_path
):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    def never(*given: object) -> None:
        pytest.fail("went on without a lock")

    monkeypatch.setattr(fcntl, "flock", flock)
    message = f"its file system has no file locks .{os.strerror(number)}.*choose another folder"
    store, results = tmp_path / "templates", tmp_path / "results"
    with pytest.raises(ConfigError, match=f"{store}: {message}"):
        get_or_build(store, "key", never)
    with pytest.raises(ConfigError, match=f"{results}: {message}"), Ledger(results).locked():
        never()
    with pytest.raises(ConfigError, match=message):
        ensure_dataset(tmp_path, train_locations=1)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {Path(name).suffix or name for name in names} == {".lock"}, names
