"""Trials without a GPU see none: through a real Ray, whose workers inherit the driver's GPUs."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

DRIVER = """
from study.tune import cluster

cluster.start(None, None)
import ray

@ray.remote(num_cpus=1, num_gpus=0)
def visible():
    import os
    return os.environ.get("CUDA_VISIBLE_DEVICES")

print("seen:", repr(ray.get(visible.remote())), flush=True)
"""


@pytest.mark.slow
def test_a_task_without_a_gpu_sees_none_of_the_drivers():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0,1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], env=environment, capture_output=True, text=True, timeout=300
    )
    assert "seen: ''" in done.stdout, done.stdout + done.stderr
