"""``auto`` in ``compute``: the rules, and that a trial which was begun keeps its choices."""

import pytest
import torch

from focusnet import settling
from focusnet.config import TrialConfig
from focusnet.errors import DataError
from focusnet.pipeline import run_trial
from focusnet.settling import choose, settle
from focusnet.system.yaml_file import read_yaml
from focusnet.training.speed import Compilation, bf16_gain, measure_compilation


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

    monkeypatch.setattr(settling, "choose", refuse)


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
    monkeypatch.setattr(settling, "bf16_gain", lambda trial, seconds: gain)
    assert str(choose(trial(), 100)["precision"]) == told


@pytest.mark.parametrize(("has_bf16", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_computes_in_bf16_where_it_does_so_itself(has_bf16, chosen, monkeypatch):
    def supported(including_emulation=True):
        return including_emulation or has_bf16

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose(trial(device="auto"), 100)["precision"].value == chosen


@pytest.fixture
def with_gpu(monkeypatch):
    """What is measured of a GPU that is not there, in a list to be filled."""
    measured = []

    def measure(trial, device, seconds):
        assert (trial.compute.precision, device.type) == ("bf16", "cuda")
        if isinstance(measured[0], Exception):
            raise measured[0]
        return measured[0]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(settling, "measure_compilation", measure)
    return measured


@pytest.mark.parametrize(
    ("clips", "told"),
    [
        (1_000_001, "true (1.5 times as fast; 10 s to compile, 10 s saved)"),
        (999_999, "false (1.5 times as fast; 10 s to compile, 10 s saved)"),
        (50_000_000, "true (1.5 times as fast; 10 s to compile, 500 s saved)"),
    ],
)
def test_a_gpu_compiles_where_that_saves_more_than_it_costs(clips, told, with_gpu):
    with_gpu.append(Compilation(plain=3e-5, compiled=2e-5, seconds=10.0))
    chosen = choose(trial(device="cuda", compile="auto"), clips)
    assert list(chosen) == ["precision", "compile"]
    assert str(chosen["compile"]) == told


def test_what_is_no_faster_compiled_is_not_compiled(with_gpu):
    with_gpu.append(Compilation(plain=2e-5, compiled=2.5e-5, seconds=0.0))
    chosen = choose(trial(device="cuda", precision="bf16", compile="auto"), 1e9)
    assert str(chosen["compile"]) == "false (0.8 times as fast; 0 s to compile, 0 s saved)"


def test_a_compiler_that_fails_leaves_trials_as_they_are(with_gpu):
    with_gpu.append(RuntimeError("Failed to find C compiler.\nPlease specify one"))
    chosen = choose(trial(device="cuda", compile="auto"), 1e9)["compile"]
    assert str(chosen) == "false (torch.compile fails here: Failed to find C compiler.)"


def test_a_users_mistake_is_not_taken_for_a_failing_compiler(with_gpu):
    with_gpu.append(DataError("augment.dir_folder: /responses is not a folder"))
    with pytest.raises(DataError, match="is not a folder"):
        choose(trial(device="cuda", compile="auto"), 1e9)


@pytest.mark.usefixtures("no_measuring")
def test_a_cpu_compiles_nothing(monkeypatch):
    monkeypatch.setattr(settling, "choose", choose)
    chosen = choose(trial(precision="fp32", compile="auto"), 1e9)
    assert {name: str(choice) for name, choice in chosen.items()} == {
        "compile": "false (only a GPU gains from it)"
    }


def test_compilation_is_measured_by_real_steps(monkeypatch):
    compile_with = torch.nn.Module.compile  # no compiler is needed to take graphs as they are
    compiled = []

    def compile_block(block, **options):
        compiled.append(block)
        compile_with(block, backend="aot_eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_block)
    before = torch.get_rng_state()
    found = measure_compilation(trial(precision="fp32"), torch.device("cpu"), seconds=0.02)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(compiled) == 1  # of two blocks, in one of two networks
    assert found.seconds > 5 * found.plain
    assert 1e-5 < found.plain < 1
    assert 1e-5 < found.compiled < 1


def test_the_gain_is_measured_by_real_steps_that_leave_random_numbers_alone():
    before = torch.get_rng_state()
    gain = bf16_gain(trial(), seconds=0.01)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.001 < gain < 1000


@pytest.mark.usefixtures("no_measuring")
def test_a_named_precision_is_taken_as_it_is(tmp_path):
    named = trial(precision="bf16")
    assert settle(named, tmp_path, 100) == (named, {})


def test_a_trial_has_one_precision_from_its_first_step_to_its_last(
    tiny_dataset, tmp_path, monkeypatch
):
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

    monkeypatch.setattr(settling, "bf16_gain", lambda trial, seconds: 2.0)
    with pytest.raises(Killed):
        run_trial(settings, tmp_path, kill)
    monkeypatch.setattr(settling, "bf16_gain", lambda trial, seconds: 0.5)
    run_trial(settings, tmp_path)
    compute = read_yaml(tmp_path / "config.yaml")["compute"]
    assert (compute["precision"], compute["compile"]) == ("bf16", False)
