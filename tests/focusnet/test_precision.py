"""``compute.precision: auto``: the rule, and that a trial which was begun keeps its choice."""

import pytest
import torch

from focusnet import precision
from focusnet.config import TrialConfig
from focusnet.pipeline import run_trial
from focusnet.precision import Choice, choose_precision, settle_precision
from focusnet.speed import bf16_gain
from focusnet.yaml_file import read_yaml


def trial(**compute) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"root": "synthetic"},
            "features": {"sample_rate": 8000},
            "augment": {"patchout_freq": 2},
            "model": {"size": "tiny", "weights": "none"},
            "template": {"batch_size": 2},
            "compute": {"device": "cpu", "precision": "auto"} | compute,
        }
    )


@pytest.fixture
def no_measuring(monkeypatch):
    def refuse(*given):
        raise AssertionError("measured again")

    monkeypatch.setattr(precision, "choose_precision", refuse)


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (1.19, "fp32 (bf16 is 1.2 times as fast here)"),
        (0.043, "fp32 (bf16 is 0.043 times as fast here)"),
        (1.2, "bf16 (1.2 times as fast as fp32 here)"),
        (2.13, "bf16 (2.1 times as fast as fp32 here)"),
    ],
)
def test_a_cpu_computes_in_bf16_where_that_is_clearly_faster(gain, told, monkeypatch):
    monkeypatch.setattr(precision, "bf16_gain", lambda trial, seconds: gain)
    assert str(choose_precision(trial())) == told


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_computes_in_bf16_where_it_does_so_itself(has_bf16, chosen, monkeypatch):
    def supported(including_emulation=True):
        return including_emulation or has_bf16

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision(trial(device="auto")).precision == chosen


def test_the_gain_is_measured_by_real_steps_that_leave_random_numbers_alone():
    before = torch.get_rng_state()
    gain = bf16_gain(trial(), seconds=0.01)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.001 < gain < 1000


@pytest.mark.usefixtures("no_measuring")
def test_a_named_precision_is_taken_as_it_is(tmp_path):
    named = trial(precision="bf16")
    assert settle_precision(named, tmp_path) == (named, "")


def test_a_trial_has_one_precision_from_its_first_step_to_its_last(
    tiny_dataset, tmp_path, monkeypatch
):
    settings = {
        "data": {"root": str(tiny_dataset)},
        "augment": {"patchout_freq": 2},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 1, "batch_size": 8, "reuse": False},
        "compute": {"device": "cpu", "precision": "auto"},
    }

    class Killed(Exception):
        pass

    def kill(record):
        raise Killed

    monkeypatch.setattr(precision, "choose_precision", lambda trial: Choice("bf16", "for once"))
    with pytest.raises(Killed):
        run_trial(settings, tmp_path, kill)
    monkeypatch.setattr(precision, "choose_precision", lambda trial: Choice("fp32", "changed"))
    run_trial(settings, tmp_path)
    assert read_yaml(tmp_path / "config.yaml")["compute"]["precision"] == "bf16"
