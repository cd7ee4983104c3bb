"""What Ray's worker passes to a trial."""

import inspect
import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from focusnet.errors import GpuMemoryError
from focusnet.pipeline import run_trial
from study.ledger.ledger import Ledger, Trial, read_trial
from study.remote.trial import remote_trials
from study.worker.trainable import build_trainable


@pytest.mark.parametrize(
    ("gpu", "options"),
    [(0, {}), (0.25, {"gpu_share": 0.25}), (1, {"gpu_share": 1}), (2, {"gpu_share": 1})],
)
@pytest.mark.parametrize("at_an_address", [False, True])
def test_a_trial_gets_its_share_of_a_gpu_as_an_option(
    gpu, options, at_an_address, tmp_path, monkeypatch
):
    ledger = Ledger(tmp_path / "results" / "small")
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    given = {}

    def trial(settings, folder, report, **options):
        options.pop("exchanges", None)
        given.update(options)
        (folder / "result.json").write_text(json.dumps({"metrics": {}}))

    address = f"file://{tmp_path}/results"
    shared = {"data": {"cache": str(tmp_path / "cache")}}
    trainable = build_trainable(
        ledger.folder / "trials",
        shared,
        title=None,
        gpu=gpu,
        remote=remote_trials(address, "small", shared, own_caches=False) if at_an_address else None,
        run_trial=trial,
    )
    monkeypatch.setattr("ray.tune.trainable.function_trainable.get_session", Mock())
    trainable._trainable_func(None, {"trial": "a"})  # what its actor runs
    assert given == options
    assert set(given) <= set(inspect.signature(run_trial).parameters)
    assert read_trial(Path(ledger.trial_folder("a"))).status == "finished"


@pytest.mark.parametrize(("gpu", "attempts"), [(0.5, 3), (1, 1)])
def test_too_little_memory_on_a_shared_gpu_is_retried_and_then_told(
    gpu, attempts, tmp_path, monkeypatch
):
    monkeypatch.setattr("ray.tune.trainable.function_trainable.get_session", Mock())
    ledger = Ledger(tmp_path / "small")
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))

    def trial(settings, folder, report, **options):
        raise GpuMemoryError("the GPU's memory is not enough: 8 clips")

    trainable = build_trainable(
        ledger.folder / "trials", {}, title=None, gpu=gpu, retries=2, run_trial=trial
    )
    for _ in range(attempts - 1):
        with pytest.raises(GpuMemoryError):
            trainable._trainable_func(None, {"trial": "a"})
        assert read_trial(ledger.trial_folder("a")).status != "failed", "Tune starts it anew"
    trainable._trainable_func(None, {"trial": "a"})
    ended = read_trial(ledger.trial_folder("a"))
    assert (ended.status, ended.error) == ("failed", "the GPU's memory is not enough: 8 clips")


def test_people_see_its_name_in_rays_dashboard_and_ray_what_it_occupies(tmp_path):
    trainable = build_trainable(tmp_path, {}, title=None, cpu=4, gpu=0.5)
    assert trainable.__qualname__ == "FocusNetTrial"
    request = trainable.default_resource_request({})
    assert request.required_resources == {"CPU": 4, "GPU": 0.5}
