"""A sample of the fault matrix; the whole of it is ``python benchmarks/faults.py``."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from benchmarks.faults import matrix


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sample_of_killed_studies_ends_as_the_undisturbed_one(tmp_path: Path):
    # A worker, and a disk where this machine lets one mount a small one.
    sample = "full disk in search, focus|worker in confirm, focus"
    ended = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "faults.py", "--only", sample, "--keep", tmp_path],
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-1]
    struck = 1 if "left out" in ended.stdout else 2
    assert last == (
        f"{struck} faults, {struck} survived, 0 trials lost, 0 repeated, 0 metrics changed"
    )


def test_the_matrix_holds_every_kind_of_fault_and_depends_on_its_seed():
    names = {fault.name for fault in matrix(0)}
    for part in (
        "waiting",
        "worker in template",
        "worker in focus",
        "driver in",
        "driver after",
        "worker in confirm",
        "driver in controls",
        "full disk in search",
        "full disk in confirm",
        "node in",
    ):
        assert any(part in name for name in names), part
    assert sum("between write and rename" in name for name in names) >= 6
    assert [fault.name for fault in matrix(0)] == [fault.name for fault in matrix(0)]
    assert [fault.name for fault in matrix(0)] != [fault.name for fault in matrix(1)]
