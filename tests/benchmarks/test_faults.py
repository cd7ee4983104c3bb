"""A sample of the faults of ``python benchmarks/faults.py``."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from benchmarks.fault_injection.catalogue import all_faults


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_studies_survive_a_sample_of_faults(tmp_path: Path):
    # A killed worker, and a full disk if this system allows mounting.
    sample = "full disk in search, focus|worker in confirm, focus"
    ended = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "faults.py", "--only", sample, "--keep", tmp_path],
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = ended.stdout.splitlines()[-1]
    injected = 1 if "left out" in ended.stdout else 2
    assert last == (
        f"{injected} faults, {injected} survived, 0 trials lost, 0 repeated, 0 metrics changed"
    )


def test_the_faults_are_of_every_kind_and_depend_on_the_seed():
    names = {fault.name for fault in all_faults(0)}
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
    first, again, other = ([fault.name for fault in all_faults(seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other
