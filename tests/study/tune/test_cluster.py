"""Starting Ray on an overloaded machine."""

from types import SimpleNamespace

import pytest
import ray

from focusnet.errors import ConfigError
from study.tune import cluster


@pytest.fixture
def starts(monkeypatch):
    """Let Ray fail to start a given number of times; counts the attempts."""

    def fail(times: int) -> list[int]:
        attempts = [0]

        def init(**options):
            attempts[0] += 1
            if attempts[0] <= times:
                raise Exception("The current node timed out during startup.")
            return SimpleNamespace(dashboard_url="127.0.0.1:8265")

        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(ray, "shutdown", lambda: None)
        monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": {"CPU": 2.0}, "Alive": True}])
        return attempts

    return fail


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in (*cluster._DRIVER_ENVIRONMENT, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that it is restored after the test
    for name in ("_silence_raylet", "_treat_out_of_memory_as_worker_death"):
        monkeypatch.setattr(cluster, name, lambda: None)


def test_ray_is_started_again_after_a_timeout(starts):
    attempts = starts(2)
    assert cluster.start(None, None).slots(1, 0) == 2
    assert attempts[0] == 3


def test_if_ray_never_starts_its_message_is_shown(starts):
    attempts = starts(9)
    told = r"does not start on this machine \(3 attempts\)\..*timed out during startup"
    with pytest.raises(ConfigError, match=told):
        cluster.start(None, None)
    assert attempts[0] == 3
