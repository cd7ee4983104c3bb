"""A full disk is recognised, and neither damages files nor leaves partial ones."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from focusnet.errors import DataError, DiskFullError
from focusnet.system.atomic import new_folder, replacing, write_text
from focusnet.system.full_disk import disk_full

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_recognised_in_the_errors_of_any_library(tmp_path):
    named = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/data/results/trials/a/x.json")
    assert str(disk_full(named, tmp_path)).startswith("/data/results/trials/a: the disk")
    for error in (
        FULL,
        DataError(f"/cache: decoding stopped: {FULL}"),
        RuntimeError(f"I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"),  # safetensors
    ):
        assert str(disk_full(error, tmp_path)).startswith(f"{tmp_path}: the disk (or the quota)")
    wrapped = RuntimeError("The Tune run failed")
    wrapped.__cause__ = FULL
    assert disk_full(wrapped, tmp_path)
    assert disk_full(OSError(errno.EACCES, os.strerror(errno.EACCES)), tmp_path) is None
    assert disk_full(ValueError("no space"), tmp_path) is None


def test_the_error_can_be_pickled_and_is_not_wrapped_twice(tmp_path):
    full = disk_full(FULL, tmp_path)
    again = pickle.loads(pickle.dumps(full))  # noqa: S301
    assert (type(again), str(again)) == (DiskFullError, str(full))
    assert disk_full(again, Path("/elsewhere")) is again


def test_a_file_that_cannot_be_replaced_is_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_text(path, "before")

    def fsync(descriptor: int) -> None:
        raise FULL

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFullError, match=f"^{tmp_path}: the disk"):
        write_text(path, "after")
    with pytest.raises(DiskFullError, match=f"^{tmp_path}: the disk"), new_folder(tmp_path / "new"):
        raise FULL
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_epoch_that_cannot_be_recorded_leaves_no_partial_line(tmp_path):
    program = """
import logging, resource, sys
from pathlib import Path
from focusnet.system.logs import log_to_file
from focusnet.training.epoch_record import EpochRecord
from focusnet.trial.folder import TrialFolder
folder = TrialFolder(Path(sys.argv[1]))
record = EpochRecord("focus", 1, 1, {}, seconds=0.0)
folder.add(record)
size = folder.epochs.stat().st_size
# The second line exceeds this limit and is written in part, as on a disk that fills up.
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 7, resource.RLIM_INFINITY))
try:
    folder.add(record)
except OSError as error:
    print(error.errno, folder.epochs.stat().st_size == size, list(folder.reported("focus")))
(folder.path / "trial.log").write_bytes(b" " * (size + 7))
with log_to_file(folder.path / "trial.log"):
    logging.getLogger("focusnet").info("no room for this")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == (f"{errno.ENOSPC} True [1]\n", "")
