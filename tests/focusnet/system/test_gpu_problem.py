"""Why a GPU cannot be used: found before anything is trained, told in one line."""

import pytest
import torch

from focusnet.errors import ConfigError
from focusnet.system import gpu
from focusnet.system.device import pick_device
from focusnet.system.gpu import gpu_features, gpu_problem


@pytest.fixture
def device_files(monkeypatch, tmp_path):
    """A machine with the device file of a GPU, which torch does not see."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "_DEVICE_FILES", tmp_path)


def init_says(monkeypatch, text):
    def init():
        raise RuntimeError(text)

    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.usefixtures("device_files")
def test_a_driver_that_is_too_old_is_told_and_auto_does_not_take_the_cpu(monkeypatch):
    init_says(
        monkeypatch, "The NVIDIA driver on your system is too old (found version 12040).\nMore."
    )
    assert gpu_problem() == "The NVIDIA driver on your system is too old (found version 12040)."
    assert gpu_features().problem == gpu_problem()
    for setting in ("auto", "cuda"):
        with pytest.raises(ConfigError, match=r"cannot be used: The NVIDIA driver .* too old"):
            pick_device(setting)
    assert pick_device("cpu").type == "cpu"


@pytest.mark.usefixtures("device_files")
def test_a_torch_without_cuda_is_told(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "was installed without CUDA" in gpu_problem()


@pytest.mark.usefixtures("device_files")
@pytest.mark.parametrize(
    "text", ["No CUDA GPUs are available", "CUDA error: no CUDA-capable device is detected"]
)
def test_a_gpu_that_this_process_was_not_given_is_no_problem(monkeypatch, text):
    init_says(monkeypatch, text)
    assert gpu_problem() is None
    assert gpu_features() is None
    assert pick_device("auto").type == "cpu"


@pytest.mark.usefixtures("device_files")
def test_hidden_gpus_are_no_problem(monkeypatch):
    init_says(monkeypatch, "The NVIDIA driver on your system is too old")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_problem() is None


def test_an_architecture_that_torch_was_not_built_for_is_told(monkeypatch):
    def ones(*size, device):
        raise RuntimeError(
            "CUDA error: no kernel image is available for execution on the device\n"
            "CUDA kernel errors might be asynchronously reported at some other API call."
        )

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Quadro P4000")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_120"])
    assert gpu_problem() == (
        "Quadro P4000 (compute capability 6.1): CUDA error: no kernel image is available for "
        f"execution on the device; torch {torch.__version__} was built for sm_75, sm_120, not for "
        "sm_61"
    )


def test_a_gpu_that_computes_is_no_problem(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, device: ones(*size))
    assert gpu_problem() is None
