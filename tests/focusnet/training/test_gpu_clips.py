"""Clips in the memory of a device: the same to the bit, and only where there is room."""

import numpy as np
import pytest
import torch

from focusnet.augment import DeviceImpulseResponses, roll_by_index
from focusnet.pipeline import run_trial
from focusnet.training import gpu_clips as resident
from focusnet.training.batches import ClipBatches, Clips
from focusnet.training.gpu_clips import CONTEXT, Residence, Resident, bytes_of, has_room
from focusnet.training.loop import Augmentation

CPU = torch.device("cpu")
COUNT, SAMPLES = 17, 300


def stored(dtype=np.int16):
    rng = np.random.default_rng(3)
    if dtype == np.int16:
        return rng.integers(-32768, 32768, (COUNT, SAMPLES), dtype=np.int16), 1 / 32768
    return rng.standard_normal((COUNT, SAMPLES), dtype=np.float32), 1.0


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_kept_rows_come_back_as_they_are_stored(dtype, monkeypatch):
    monkeypatch.setattr(resident, "_CLIPS_AT_A_TIME", 3)
    samples, _ = stored(dtype)
    samples.flags.writeable = False  # as the map of a file
    kept = Resident(samples, np.array([12, 3, 5, 12, 0, 16, 9, 4]), CPU)
    rows = np.array([9, 0, 9, 16, 3])
    assert np.array_equal(kept.take(rows).numpy(), samples[rows])
    assert bytes_of(samples, np.array([1, 1, 2])) == 2 * SAMPLES * samples.itemsize


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_clips_are_gathered_from_there_to_the_same_bits(dtype):
    samples, scale = stored(dtype)
    rows = np.array([3, 0, 16])
    here = Clips(samples, scale, rows)
    there = Clips(samples, scale, rows, resident=Resident(samples, np.arange(COUNT), CPU))
    shifts = torch.tensor([0, 1, SAMPLES - 1])
    assert torch.equal(there.gather(), here.gather())
    assert torch.equal(there.gather(shifts), here.gather(shifts))
    assert torch.equal(there.gather(length=512), here.gather(length=512))
    places = torch.tensor([2, 0])
    assert torch.equal(there.take(places).gather(), here.take(places).gather())


def test_rolling_by_index_is_rolling():
    clips = torch.arange(12).reshape(3, 4)
    assert roll_by_index(clips, torch.tensor([0, 1, 3])).tolist() == [
        [0, 1, 2, 3],
        [7, 4, 5, 6],
        [9, 10, 11, 8],
    ]


def test_augmented_batches_of_resident_clips_are_the_same_to_the_bit():
    samples, scale = stored()
    noise = torch.randn(4, 90, generator=torch.Generator().manual_seed(1))
    augmentation = Augmentation(
        responses=DeviceImpulseResponses(noise, SAMPLES),
        dir_probability=0.6,
        roll_samples=150,
        mixstyle_probability=0.0,
        mixstyle_alpha=0.4,
    )

    def waveforms(resident):
        order, draws = torch.Generator().manual_seed(0), torch.Generator().manual_seed(2)
        batches = ClipBatches(
            samples,
            scale,
            np.arange(COUNT),
            np.arange(COUNT),
            batch_size=5,
            generator=order,
            eligible_for_dir=np.arange(COUNT) % 3 > 0,
        )
        batches.resident = resident
        return torch.cat([augmentation.waveforms(batch, draws) for batch in batches])

    kept = Resident(samples, np.arange(COUNT), CPU)
    assert torch.equal(waveforms(kept), waveforms(None))


GB = 10**9


@pytest.mark.parametrize(
    ("needed", "free", "reserved", "gpu_share", "fits"),
    [
        (15 * GB, 60 * GB, 10 * GB, 1.0, True),
        (15 * GB, 16 * GB, 10 * GB, 1.0, False),  # another process has the rest
        (15 * GB, 60 * GB, 10 * GB, 0.25, False),  # a quarter of the GPU: 20 - 0.7 - 10
        (8 * GB, 60 * GB, 10 * GB, 0.25, True),
        (1, 60 * GB, 20 * GB, 0.25, False),
    ],
)
def test_clips_are_kept_where_the_trials_part_of_the_gpu_has_room_beside_the_network(
    needed, free, reserved, gpu_share, fits
):
    room = {"free": free, "total": 80 * GB, "reserved": reserved, "gpu_share": gpu_share}
    assert has_room(needed, **room) == fits


def test_the_room_is_what_the_gpu_says(monkeypatch):
    samples, _ = stored()
    rows = np.arange(COUNT)
    needed = bytes_of(samples, rows)
    monkeypatch.setattr(resident, "Resident", lambda *given: given)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 0)
    gpu = torch.device("cuda")
    for free, fits in ((2 * needed, True), (needed, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, f=free: (f, 10**10))
        clips = Residence(samples, rows, gpu, 1.0).settle()
        assert clips == ((samples, rows, gpu) if fits else None)
    share = (CONTEXT + needed) / 10**10  # all of it: less than a tenth is left over
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**10, 10**10))
    assert Residence(samples, rows, gpu, share).settle() is None
    assert Residence(samples, rows, CPU, 1.0).settle() is None


def test_a_trial_with_resident_clips_gives_the_same_to_the_bit(tiny_dataset, tmp_path, monkeypatch):
    settings = {
        "data": {"root": str(tiny_dataset)},
        "augment": {"patchout_freq": 2},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 2, "batch_size": 8, "reuse": False},
        "compute": {"device": "cpu"},
    }
    plain = run_trial(settings, tmp_path / "plain")
    made = []

    def keep(samples, rows, device):
        assert not any(len(earlier._samples) for earlier in made), "one at a time"
        made.append(Resident(samples, rows, device))
        return made[-1]

    monkeypatch.setattr(Residence, "_fits", lambda self: self._gpu_share == 0.5)
    monkeypatch.setattr(resident, "Resident", keep)
    kept = run_trial(settings, tmp_path / "kept", gpu_share=0.5)
    assert len(made) == 2, "once for each stage"
    assert not any(len(one._samples) for one in made)
    values = [
        {name: value for name, value in result.metrics.items() if not name.endswith("seconds")}
        for result in (plain, kept)
    ]
    assert values[0] == values[1]
    frames = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("plain", "kept")]
    assert frames[0] == frames[1]
