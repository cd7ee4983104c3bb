"""Clips cached in the memory of a device: equal to the bit, and only if there is room."""

import numpy as np
import pytest
import torch

from focusnet.augment import DeviceImpulseResponses, roll_by_index
from focusnet.pipeline import run_trial
from focusnet.training import gpu_clips
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches, Clips
from focusnet.training.gpu_clips import GpuClipCache, has_room
from focusnet.training.gpu_memory import CONTEXT

CPU = torch.device("cpu")
COUNT, SAMPLES = 17, 300


def stored(dtype=np.int16):
    rng = np.random.default_rng(3)
    if dtype == np.int16:
        return rng.integers(-32768, 32768, (COUNT, SAMPLES), dtype=np.int16), 1 / 32768
    return rng.standard_normal((COUNT, SAMPLES), dtype=np.float32), 1.0


def filled_cache(samples, rows=np.arange(COUNT)) -> GpuClipCache:  # noqa: B008
    cache = GpuClipCache(samples, rows, CPU)
    cache.fill()
    return cache


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_cached_rows_come_back_as_they_are_stored(dtype, monkeypatch):
    monkeypatch.setattr(gpu_clips, "_CLIPS_AT_A_TIME", 3)
    samples, _ = stored(dtype)
    samples.flags.writeable = False  # as the map of a file
    cache = filled_cache(samples, np.array([12, 3, 5, 12, 0, 16, 9, 4]))
    rows = np.array([9, 0, 9, 16, 3])
    assert np.array_equal(cache.take(rows).numpy(), samples[rows])
    assert cache.size == 7 * SAMPLES * samples.itemsize


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_clips_are_gathered_from_the_cache_to_the_same_bits(dtype):
    samples, scale = stored(dtype)
    rows = np.array([3, 0, 16])
    host = Clips(samples, scale, rows)
    cached = Clips(samples, scale, rows, gpu_cache=filled_cache(samples))
    shifts = torch.tensor([0, 1, SAMPLES - 1])
    assert torch.equal(cached.gather(), host.gather())
    assert torch.equal(cached.gather(shifts), host.gather(shifts))
    assert torch.equal(cached.gather(length=512), host.gather(length=512))
    places = torch.tensor([2, 0])
    assert torch.equal(cached.take(places).gather(), host.take(places).gather())


def test_rolling_by_index_is_rolling():
    clips = torch.arange(12).reshape(3, 4)
    assert roll_by_index(clips, torch.tensor([0, 1, 3])).tolist() == [
        [0, 1, 2, 3],
        [7, 4, 5, 6],
        [9, 10, 11, 8],
    ]


def test_augmented_batches_of_cached_clips_are_the_same_to_the_bit():
    samples, scale = stored()
    noise = torch.randn(4, 90, generator=torch.Generator().manual_seed(1))
    augmentation = Augmentation(
        responses=DeviceImpulseResponses(noise, SAMPLES),
        dir_probability=0.6,
        roll_samples=150,
        mixstyle_probability=0.0,
        mixstyle_alpha=0.4,
    )

    def waveforms(cache):
        order, draws = torch.Generator().manual_seed(0), torch.Generator().manual_seed(2)
        batches = ClipBatches(
            samples,
            scale,
            np.arange(COUNT),
            np.arange(COUNT),
            batch_size=5,
            generator=order,
            eligible_for_dir=np.arange(COUNT) % 3 > 0,
            gpu_cache=cache,
        )
        return torch.cat([augmentation.waveforms(batch, draws) for batch in batches])

    expected = waveforms(None)
    assert torch.equal(waveforms(filled_cache(samples)), expected)
    assert torch.equal(waveforms(GpuClipCache(samples, np.arange(COUNT), CPU)), expected)


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
def test_clips_are_cached_if_the_trials_share_of_the_gpu_has_room_beside_the_network(
    needed, free, reserved, gpu_share, fits
):
    room = {"free": free, "total": 80 * GB, "reserved": reserved, "gpu_share": gpu_share}
    assert has_room(needed, **room) == fits


def test_the_room_is_what_the_gpu_reports(monkeypatch):
    samples, _ = stored()
    size = samples.nbytes
    monkeypatch.setattr(GpuClipCache, "fill", lambda self: setattr(self, "_samples", True))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 0)

    def is_filled(free, share=1.0, device="cuda") -> bool:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**10))
        cache = GpuClipCache(samples, np.arange(COUNT), torch.device(device), share)
        cache.fill_if_room()
        return cache.filled

    assert is_filled(2 * size)
    assert not is_filled(size)
    assert not is_filled(10**10, (CONTEXT + size) / 10**10)  # a tenth must stay free
    assert not is_filled(10**10, device="cpu")


def test_a_trial_with_cached_clips_gives_the_same_to_the_bit(tiny_dataset, tmp_path, monkeypatch):
    settings = {
        "data": {"root": str(tiny_dataset)},
        "augment": {"patchout_freq": 2},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 2, "batch_size": 8, "reuse": False},
        "compute": {"device": "cpu"},
    }
    plain = run_trial(settings, tmp_path / "plain")
    filled = []
    fill = GpuClipCache.fill

    def fill_and_count(self):
        filled.append(self)
        fill(self)

    monkeypatch.setattr(GpuClipCache, "_has_room", lambda self: self._gpu_share == 0.5)
    monkeypatch.setattr(GpuClipCache, "fill", fill_and_count)
    cached = run_trial(settings, tmp_path / "cached", gpu_share=0.5)
    assert filled == [filled[0]] * 2, "once in each stage, in one cache"
    assert not filled[0].filled, "released at the end"
    values = [
        {name: value for name, value in result.metrics.items() if not name.endswith("seconds")}
        for result in (plain, cached)
    ]
    assert values[0] == values[1]
    plain, cached = (tmp_path / name / "weights.safetensors" for name in ("plain", "cached"))
    assert plain.read_bytes() == cached.read_bytes()
