"""A sample of the fault matrix; the whole of it is ``python benchmarks/faults.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults import matrix

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sample_of_killed_studies_ends_as_the_undisturbed_one(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "faults.py", "--faults", "2", "--keep", tmp_path],
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert "0 trials lost, 0 repeated, 0 metrics changed" in last


def test_the_matrix_holds_every_kind_of_fault_and_depends_on_its_seed():
    names = {fault.name for fault in matrix(0)}
    for part in (
        "waiting",
        "worker in template",
        "worker in focus",
        "driver in",
        "driver after",
        "node in",
    ):
        assert any(part in name for name in names), part
    assert sum("between write and rename" in name for name in names) >= 6
    assert [fault.name for fault in matrix(0)] == [fault.name for fault in matrix(0)]
    assert [fault.name for fault in matrix(0)] != [fault.name for fault in matrix(1)]
