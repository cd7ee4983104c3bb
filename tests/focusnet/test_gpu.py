"""What differs on a GPU. All tests are skipped if torch sees none."""

import gc
import math
import warnings
from itertools import islice

import numpy as np
import pytest
import torch
from killed_processes import STUDENT
from safetensors.torch import load_file
from small_stage import BATCH, CLASSES, augmentation, batches, front_end, stage_on, tiny
from torch.nn.functional import cross_entropy

from focusnet.arms import ARMS, STUDENT_ONLY
from focusnet.errors import GpuMemoryError
from focusnet.loss import FocusNetLoss
from focusnet.pipeline import run_trial
from focusnet.student.network import build_student
from focusnet.student.stages import InPrecision
from focusnet.system.precision import autocast
from focusnet.system.yaml_file import read_yaml
from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.loop import predict_logits, train_stage
from focusnet.training.objectives import FocusObjective
from focusnet.training.recorded_steps import RecordedSteps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("precision", "rtol", "atol"), [("fp32", 1e-3, 1e-4), ("bf16", 5e-2, 5e-2)]
)
def test_fused_and_compiled_operations_give_what_plain_ones_give(precision, rtol, atol, compiled):
    spec = torch.randn(BATCH, 1, 128, 100, generator=torch.Generator().manual_seed(0)).to(GPU)
    seen = []
    # By default attention is fused and patches are embedded by a matrix product.
    for changes in ({"compiled": compiled}, {"fused_attention": False, "patches_as_matrix": False}):
        model = tiny(**changes).to(GPU).train()
        with autocast(GPU, precision):
            logits = model(spec)[0].float()
        logits.square().sum().backward()
        seen.append((logits.detach(), model.patch_embed.proj.weight.grad))
    for found, expected in zip(*seen, strict=True):
        scale = expected.abs().max()
        assert torch.allclose(found / scale, expected / scale, rtol=rtol, atol=atol)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 2e-2)])
def test_a_replayed_step_gives_the_gradients_of_an_ordinary_one(precision, tolerance, compiled):
    network = tiny(compiled=compiled).to(GPU).train()
    replayed = RecordedSteps(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    draws = torch.Generator().manual_seed(3)

    def gradients(compute, spec, labels):
        network.generator.manual_seed(7)
        optimizer.zero_grad()
        with autocast(GPU, precision):
            loss = cross_entropy(compute(spec).float(), labels)
        loss.backward()
        named = network.named_parameters()
        return loss.detach(), {
            name: value.grad.clone() for name, value in named if value.grad is not None
        }

    for count in (6, 6, 6, 4, 6):  # the weights change between them
        spec = torch.randn(count, 1, 128, 100, generator=draws).to(GPU)
        labels = torch.randint(CLASSES, (count,), generator=draws).to(GPU)
        expected_loss, expected = gradients(lambda x: network(x)[0], spec, labels)
        loss, found = gradients(replayed, spec, labels)
        assert torch.allclose(loss, expected_loss, rtol=tolerance)
        assert found.keys() == expected.keys()
        whole = torch.stack([value.norm() for value in expected.values()]).norm()
        for name, value in found.items():
            assert (value - expected[name]).norm() <= tolerance * whole, name
        optimizer.step()


def train_an_epoch(count):
    """Train one epoch of ``count`` batches on the GPU in bf16."""
    train_stage(
        tiny(),
        front_end(),
        FocusObjective(FocusNetLoss()),
        batches(count, GPU),
        augmentation(GPU),
        torch.Generator().manual_seed(0),
        epochs=1,
        optimizer="adam",
        lr=1e-3,
        weight_decay=0.0,
        lr_factor=lambda epoch: 1.0,
        device=GPU,
        precision="bf16",
        on_epoch=lambda epoch, means, optimizer: None,
    )


def test_a_stage_leaves_no_recording_in_the_memory_of_the_gpu():
    def train():
        train_an_epoch(4)
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    train()  # what is set up once
    once = train()
    assert train() <= once


def test_clips_cached_on_the_gpu_equal_those_of_the_host_to_the_bit_and_are_close_to_a_cpus():
    def waveforms(device, cached_on=None):
        draws = torch.Generator().manual_seed(2)
        augment = augmentation(device)
        given = batches(3, cached_on)
        return [augment.waveforms(batch.to(device), draws).cpu() for batch in given]

    host, kept, cpu = waveforms(GPU), waveforms(GPU, GPU), waveforms(CPU)
    for ours, theirs, expected in zip(kept, host, cpu, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.allclose(ours, expected, atol=1e-5)


def test_logits_are_close_to_a_cpus():
    def logits(device):
        return predict_logits(tiny(), front_end(), batches(2), device=device, precision="fp32")

    np.testing.assert_allclose(logits(GPU), logits(CPU), atol=2e-3)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_cpu_never_waits_for_the_gpu_within_a_step(precision, cached):
    stage = stage_on(GPU)
    optimizer = stage.make_optimizer()
    given = iter(batches(5, GPU if cached else None))

    def steps(count):
        for index, batch in enumerate(islice(given, count)):
            moved = stage.transfer_batch_to_device(batch, GPU, 0)
            optimizer.zero_grad()
            with autocast(GPU, precision):
                loss = stage.training_step(moved, index)
            loss.backward()
            optimizer.step()

    steps(2)  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(3)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_an_epoch_waits_as_often_with_many_steps_as_with_few():
    """So no step waits, whatever Lightning does between steps."""

    def waits(count: int) -> int:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train_an_epoch(count)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing CUDA operation" in str(one.message) for one in told)

    waits(2)  # what is set up once
    assert waits(12) == waits(4)


def settings(tiny_dataset, **compute):
    return {
        "data": {"root": str(tiny_dataset)},
        "augment": {"patchout_freq": 2},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 2, "batch_size": 8, "optimizer": "adamw", "lr": 1e-3},
        "compute": {"device": GPU.type, "precision": "bf16", "checkpoint_seconds": 0} | compute,
    }


@pytest.mark.slow
@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm not in STUDENT_ONLY])
def test_a_trial_of_each_arm_runs_in_bf16(arm, tiny_dataset, tmp_path):
    result = run_trial(settings(tiny_dataset) | {"arm": arm}, tmp_path)
    assert math.isfinite(result.metrics["focus/report/macro_accuracy"])
    assert math.isfinite(result.metrics["focus/report/log_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_a_trial_runs_in_each_precision(precision, tiny_dataset, tmp_path):
    result = run_trial(settings(tiny_dataset, precision=precision), tmp_path)
    assert math.isfinite(result.metrics["focus/report/log_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_trial_runs_with_batches_in_parts(precision, tiny_dataset, tmp_path):
    result = run_trial(settings(tiny_dataset, precision=precision, micro_batch=3), tmp_path)
    assert math.isfinite(result.metrics["focus/report/log_loss"])


def test_a_state_on_the_gpu_is_saved_as_it_was_while_training_goes_on(tmp_path):
    model = tiny().to(GPU)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    checkpoint = Checkpoint(tmp_path, {})
    for epoch in (1, 2):  # the memory of the first copy is used again
        optimizer.step()
        state = StageState(epoch, model.state_dict(), optimizer.state_dict(), {}, 0, None, [], 0)
        expected = {name: value.cpu().clone() for name, value in model.state_dict().items()}
        checkpoint.save(state)
        for _ in range(5):
            optimizer.step()
        checkpoint.wait()
        found = checkpoint.load()
        assert found.epoch == epoch
        assert all(torch.equal(found.model[name], value) for name, value in expected.items())


def test_too_little_memory_is_explained_with_what_fits(tiny_dataset, tmp_path):
    try:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-4)  # some megabytes
        with pytest.raises(GpuMemoryError, match="clips at a time need about"):
            run_trial(settings(tiny_dataset), tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.slow
def test_a_trial_runs_compiled(tiny_dataset, tmp_path):
    result = run_trial(settings(tiny_dataset, compile=True), tmp_path)
    assert math.isfinite(result.metrics["focus/report/log_loss"])


@pytest.mark.slow
def test_auto_takes_bf16_and_compiles_no_short_trial(tiny_dataset, tmp_path):
    run_trial(settings(tiny_dataset, precision="auto", compile="auto"), tmp_path)
    compute = read_yaml(tmp_path / "config.yaml")["compute"]
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    assert compute["precision"] == ("bf16" if has_bf16 else "fp16")
    assert compute["compile"] is False


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["template", "focus"])
def test_a_trial_that_died_goes_on_from_its_last_epoch(stage, tiny_dataset, tmp_path):
    class Killed(Exception):
        pass

    def die(record):
        if (record["stage"], record["epoch"]) == (stage, 1):
            raise Killed

    whole = settings(tiny_dataset, precision="fp32")
    whole["template"]["reuse"] = False
    expected = run_trial(whole, tmp_path / "uninterrupted")
    with pytest.raises(Killed):
        run_trial(whole, tmp_path / "killed", die)
    told = []
    found = run_trial(whole, tmp_path / "killed", told.append)
    assert (stage, 1) not in {(record["stage"], record["epoch"]) for record in told}
    name = "focus/report/log_loss"  # a GPU sums in no fixed order
    assert found.metrics[name] == pytest.approx(expected.metrics[name], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("arm", ["focusnet", "template", "labels"])
def test_a_student_is_trained_and_tested_in_half_precision_and_in_fp32(
    arm, precision, tiny_dataset, tmp_path
):
    student = STUDENT | {"precision": precision}
    result = run_trial(settings(tiny_dataset) | {"arm": arm, "student": student}, tmp_path)
    assert math.isfinite(result.metrics["student/report/log_loss"])
    weights = load_file(tmp_path / "student.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


def test_a_student_in_half_precision_is_close_to_itself_in_fp32():
    network = build_student(generator=torch.Generator().manual_seed(0)).to(GPU).eval()
    spec = torch.randn(8, 1, 256, 44, generator=torch.Generator().manual_seed(1)).to(GPU)
    with torch.inference_mode():
        expected = network(spec)
        for precision in ("fp16", "bf16"):
            found = InPrecision(network, precision, on_cpu=False).eval()(spec).float()
            assert (found - expected).norm() < 0.05 * expected.norm()
