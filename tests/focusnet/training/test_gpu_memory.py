"""GPU memory of a training: the estimate against measurements, and what is said if it is short."""

import re

import pytest
import torch

from focusnet.config import ModelConfig, TrialConfig
from focusnet.errors import GpuMemoryError
from focusnet.model.passt import build_model
from focusnet.network_sizes import parameter_count
from focusnet.pipeline import run_trial
from focusnet.training.gpu_memory import (
    CONTEXT,
    memory_of_gpu,
    share_gpu,
    too_little_memory,
    training_memory,
)
from focusnet.trial import stages

CLASSES = 10
FRAMES = 138  # of a second at 44.1 kHz

# Reserved bytes of a step in GB, measured on an NVIDIA H100 80GB HBM3: batch size, precision.
MEASURED = {
    (64, "bf16"): 3.27, (128, "bf16"): 5.09, (256, "bf16"): 8.4,
    (64, "fp32"): 4.55, (128, "fp32"): 7.83, (256, "fp32"): 13.45,
}  # fmt: skip


def trial(batch_size=128, precision="bf16", micro_batch=None):
    return TrialConfig.model_validate(
        {
            "data": {"root": "x"},
            "features": {"sample_rate": 44_100},
            "augment": {"patchout_freq": 6},
            "template": {"batch_size": batch_size},
            "compute": {"precision": precision, "micro_batch": micro_batch},
        }
    )


@pytest.mark.parametrize(("batch_size", "precision"), MEASURED)
def test_the_estimate_is_close_to_what_was_measured(batch_size, precision):
    needed = training_memory(trial(batch_size, precision), FRAMES, CLASSES)
    measured = MEASURED[batch_size, precision] * 1e9 + CONTEXT
    assert needed.total == pytest.approx(measured, rel=0.05)


def test_parts_of_a_batch_need_less_and_batch_128_fits_into_6_gb():
    whole = training_memory(trial(), FRAMES, CLASSES)
    parts = training_memory(trial(micro_batch=32), FRAMES, CLASSES)
    assert parts.clips == 32
    assert parts.total < 4e9 < 5.5e9 < whole.total
    assert whole.clips_that_fit(whole.total) == 128
    assert whole.clips_that_fit(1e9) == 0


@pytest.mark.parametrize("size", ["tiny", "mini", "passt_s"])
def test_parameters_are_those_of_the_network(size):
    config = ModelConfig.model_validate({"size": size, "weights": "none"})
    network = build_model(config, 10)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert parameter_count(size, None, config.max_frames, 128, 10) == count


@pytest.mark.parametrize(
    ("total", "others", "share", "said"),
    [
        (4e9, 0, 1.0, "128 clips at a time need about 5.8 GB, and the GPU has 4.0 GB; "
                      "compute.micro_batch: 32 fits and gives equal results up to rounding"),
        (16e9, 0, 0.25, "this trial's share (0.25) of the GPU's 16.0 GB is 4.0 GB; "
                        "compute.micro_batch: 32 fits .*; so may a larger resources.gpu"),
        (80e9, 78e9, 1.0, "the GPU has 80.0 GB; others use 78.0 GB of it; "
                          "end what else runs on the GPU"),
        (2e9, 0, 1.0, "need about 5.8 GB, and the GPU has 2.0 GB$"),
    ],
)  # fmt: skip
def test_the_message_says_what_is_needed_what_there_is_and_what_fits(total, others, share, said):
    needed = training_memory(trial(), FRAMES, CLASSES)
    message = too_little_memory(needed, total=int(total), others=int(others), gpu_share=share)
    assert re.search(said.replace("(", r"\(").replace(")", r"\)"), message), message


def test_memory_of_others_is_what_neither_we_nor_cuda_hold(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(10e9), int(80e9)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: int(5e9))
    assert memory_of_gpu(torch.device("cuda")) == (int(80e9), int(65e9) - CONTEXT)


@pytest.mark.parametrize(("share", "fraction"), [(1.0, None), (0.5, 0.5 - CONTEXT / 80e9)])
def test_a_trial_reserves_no_more_than_its_share(share, fraction, monkeypatch):
    limits = []
    card = type("Card", (), {"total_memory": 80_000_000_000})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda f, device: limits.append(f)
    )
    share_gpu(torch.device("cuda"), share)
    share_gpu(torch.device("cpu"), share)
    assert limits == ([] if fraction is None else [pytest.approx(fraction)])


def test_a_trial_that_runs_out_of_memory_says_what_fits(tiny_dataset, tmp_path, monkeypatch):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 94.00 MiB.")

    monkeypatch.setattr("focusnet.trial.stage_training.train_stage", full)
    monkeypatch.setattr(stages, "memory_of_gpu", lambda device: (1_000_000_000, 0))
    settings = {
        "data": {"root": str(tiny_dataset), "cache": str(tmp_path)},
        "augment": {"patchout_freq": 0},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 1, "batch_size": 8},
        "compute": {"device": "cpu"},
    }
    with pytest.raises(GpuMemoryError, match=r"8 clips at a time need about 1\.0 GB") as error:
        run_trial(settings, tmp_path / "out")
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)


def test_the_first_error_of_a_gpu_is_the_one_that_is_shown(tiny_dataset, tmp_path, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def also_broken(self):
        raise RuntimeError("CUDA error: the context is gone")

    monkeypatch.setattr("focusnet.pipeline._Trial.run", broken)
    monkeypatch.setattr("focusnet.pipeline._Trial.release", also_broken)
    settings = {
        "data": {"root": str(tiny_dataset), "cache": str(tmp_path)},
        "augment": {"patchout_freq": 0},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "compute": {"device": "cpu"},
    }
    with pytest.raises(RuntimeError, match="an illegal memory access"):
        run_trial(settings, tmp_path / "out")
