"""What many tests need: caches of their own, a small synthetic data set, real recordings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import torch
from paths import ROOT

ESC10 = ROOT.parent / "shared" / "esc10"

# A busy machine is no reason to fail, and in CI the same tree gives the same outcome.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

# A shell's background jobs ignore Ctrl-C, and hand that down to all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two test processes on two cores: torch's own threads would only fight.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that run whole studies, so that both processes end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    whole_studies = (ROOT / "tests" / "study", ROOT / "tests" / "benchmarks")

    def turn(item: pytest.Item) -> int:
        runs_studies = any(item.path.is_relative_to(folder) for folder in whole_studies)
        return 2 - (item.path in slow) - (item.path in slow and runs_studies)

    items.sort(key=turn)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No test reads or writes the cache of the person who runs it."""
    cache = tmp_path_factory.mktemp("cache")
    os.environ["FOCUSNET_CACHE"] = str(cache)
    return cache


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set of 2 + 2 locations a class, 2 clips each."""
    from focusnet.synthetic.generate import make_dataset

    root = tmp_path_factory.mktemp("tiny") / "dataset"
    make_dataset(
        root,
        train_locations=2,
        test_locations=2,
        clips_per_location=2,
        seed=0,
        workers=1,
        progress=False,
    )
    return root


@pytest.fixture(scope="session")
def esc10_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real recordings (ESC-10) in the TAU22 layout; a user's clone does not have them."""
    script = ESC10 / "tools" / "esc10_to_tau.py"
    if not script.is_file():
        pytest.skip("the ESC-10 recordings are not beside the repository")
    root = tmp_path_factory.mktemp("esc10") / "dataset"
    subprocess.run([sys.executable, script, root], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def impulse_responses() -> Path:
    """Real microphone impulse responses."""
    folder = ESC10 / "impulse_responses"
    if not folder.is_dir():
        pytest.skip("the impulse responses are not beside the repository")
    return folder
