"""``auto`` in ``compute``: the rules, and that a resumed trial keeps its first choice."""

import importlib.util
import shutil

import pytest
import torch

from focusnet import auto_settings
from focusnet.auto_settings import COMPILE_FROM_CLIPS, choose, choose_here, resolve
from focusnet.config import TrialConfig
from focusnet.errors import ConfigError
from focusnet.pipeline import run_trial
from focusnet.system.gpu import GpuFeatures, gpu_features
from focusnet.system.yaml_file import read_yaml

GOOD = GpuFeatures(bf16=True, compiler_problem=None)
OLD = GpuFeatures(bf16=False, compiler_problem="no C compiler found")


def trial(**compute) -> TrialConfig:
    auto = {"device": "cpu", "precision": "auto", "compile": "auto"}
    return TrialConfig.model_validate({"data": {"root": "x"}, "compute": auto | compute})


def chosen(machines, clips=COMPILE_FROM_CLIPS, **compute) -> dict[str, str]:
    found = choose(trial(**compute), clips, machines)
    return {name: str(choice) for name, choice in found.items()}


@pytest.mark.parametrize(
    ("machines", "precision"),
    [
        ([GOOD], "bf16 (the GPU has it)"),
        ([GOOD, GOOD], "bf16 (the GPU has it)"),
        ([OLD], "fp16 (no bf16)"),
        ([None], "fp32 (no GPU)"),
        ([GOOD, OLD, GOOD], "fp16 (no bf16, on 1 of 3 nodes)"),
        ([GOOD, None, OLD], "fp32 (no GPU, on 1 of 3 nodes)"),
    ],
)
def test_precision_is_bf16_where_every_gpu_has_it_and_fp16_on_others(machines, precision):
    assert chosen(machines)["precision"] == precision


@pytest.mark.parametrize(
    ("machines", "clips", "compiled"),
    [
        ([GOOD], 2_000_000, "true (each process trains on at least 2,000,000 clips)"),
        ([GOOD], 1_999_999, "false (each process trains on fewer than 2,000,000 clips)"),
        ([OLD], 1e9, "false (no C compiler found)"),
        ([None], 1e9, "false (no GPU)"),
        ([GOOD, OLD], 1e9, "false (no C compiler found, on 1 of 2 nodes)"),
    ],
)
def test_compilation_is_on_where_every_node_can_and_training_is_long(machines, clips, compiled):
    assert chosen(machines, clips)["compile"] == compiled


def test_only_settings_that_say_auto_are_chosen():
    assert list(chosen([GOOD], precision="fp32")) == ["compile"]
    assert list(chosen([GOOD], compile=False)) == ["precision"]


@pytest.fixture
def with_gpu(monkeypatch):
    def supported(including_emulation=True):
        return including_emulation  # of a GPU that only emulates bf16

    monkeypatch.setattr("focusnet.system.gpu.gpu_problem", lambda: None)
    monkeypatch.setattr("focusnet.system.device.gpu_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.delenv("CC", raising=False)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpus_features_are_what_it_does_in_hardware_and_what_a_compiler_needs(monkeypatch):
    def problem() -> str | None:
        features = gpu_features()
        assert not features.bf16
        return features.compiler_problem

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert problem() == "triton is not installed"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert problem() == "no C compiler found"
    monkeypatch.setenv("CC", "mycc")
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/nowhere")
    assert problem() == "Python's C headers are not installed"
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: True)
    assert problem() is None


def test_this_machine_is_asked_about_the_device_that_the_trial_uses(monkeypatch):
    monkeypatch.setattr(auto_settings, "gpu_features", lambda: GOOD)
    monkeypatch.setattr("focusnet.system.gpu.gpu_problem", lambda: None)
    monkeypatch.setattr("focusnet.system.device.gpu_problem", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_here(trial(device="auto"), 0)["precision"].value == "bf16"
    assert choose_here(trial(device="cpu"), 0)["precision"].value == "fp32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda' needs a GPU"):
        choose_here(trial(device="cuda"), 0)


def test_named_settings_are_left_as_they_are(tmp_path):
    named = trial(precision="bf16", compile=False)
    assert resolve(named, tmp_path, 100) is named


@pytest.mark.slow
def test_a_resumed_trial_keeps_the_precision_it_was_begun_with(tiny_dataset, tmp_path, monkeypatch):
    settings = {
        "data": {"root": str(tiny_dataset)},
        "augment": {"patchout_freq": 2},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 1, "batch_size": 8, "reuse": False},
        "compute": {"device": "cpu", "precision": "auto", "compile": "auto"},
    }

    class Killed(Exception):
        pass

    def kill(record):
        raise Killed

    # As a measurement chose bf16 on this CPU before there was a rule.
    measured = choose(trial(), 0, [GOOD])
    with monkeypatch.context() as patch:
        patch.setattr(auto_settings, "choose_here", lambda trial, clips: measured)
        with pytest.raises(Killed):
            run_trial(settings, tmp_path / "measured", kill)
    run_trial(settings, tmp_path / "measured")
    run_trial(settings, tmp_path / "new")
    for name, precision in (("measured", "bf16"), ("new", "fp32")):
        compute = read_yaml(tmp_path / name / "config.yaml")["compute"]
        assert (compute["precision"], compute["compile"]) == (precision, False)
