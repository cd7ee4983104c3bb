"""Gathering batches, and augmenting waveforms on the way, against step-by-step versions."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve

from focusnet.augment import DeviceImpulseResponses, draw_shifts, fft_length
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import ClipBatches, Clips

COUNT, SAMPLES = 21, 400


def stored(dtype=np.int16):
    draw = np.random.default_rng(0)
    if dtype == np.int16:
        return draw.integers(-32768, 32768, (COUNT, SAMPLES)).astype(np.int16), 1 / 32768
    return draw.normal(0, 0.3, (COUNT, SAMPLES)).astype(np.float32), 1.0


def batches_of(samples, scale, generator=None):
    return ClipBatches(
        samples,
        scale,
        np.arange(COUNT)[::-1].copy(),
        np.arange(COUNT),
        batch_size=8,
        generator=generator,
        eligible_for_dir=np.arange(COUNT) % 3 > 0,
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_batches_hold_the_clips_in_order_at_full_scale(dtype):
    samples, scale = stored(dtype)
    gathered = torch.cat([batch.clips.gather() for batch in batches_of(samples, scale)])
    assert gathered.dtype == torch.float32
    assert np.array_equal(gathered.numpy(), samples[::-1].astype(np.float32) * np.float32(scale))


def test_shuffled_batches_keep_labels_with_their_clips():
    samples, scale = stored()
    seen = []
    for batch in batches_of(samples, scale, torch.Generator().manual_seed(0)):
        for clip, label in zip(batch.clips.gather(), batch.labels.tolist(), strict=True):
            expected = samples[COUNT - 1 - label].astype(np.float32) / 32768
            assert np.array_equal(clip.numpy(), expected)
            seen.append(label)
    assert sorted(seen) == list(range(COUNT))
    assert seen != sorted(seen)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_clip_is_gathered_to_its_rolled_place(dtype):
    samples, scale = stored(dtype)
    clips = Clips(samples, scale, np.array([3, 0, 20]))
    shifts = torch.tensor([0, 1, SAMPLES - 1])
    for rolled, clip, shift in zip(clips.gather(shifts), clips.gather(), shifts, strict=True):
        assert torch.equal(rolled, clip.roll(int(shift)))


def test_clips_can_be_padded_with_zeros():
    samples, scale = stored()
    clips = Clips(samples, scale, np.array([5, 6]))
    padded = clips.gather(length=512)
    assert torch.equal(padded[:, :SAMPLES], clips.gather())
    assert not padded[:, SAMPLES:].any()


@pytest.mark.parametrize("furthest", [0, 150])
@pytest.mark.parametrize("taps", [None, 90])
def test_a_batch_is_augmented_as_by_dir_and_then_roll(furthest, taps):
    samples, scale = stored()
    responses = noise = None
    if taps is not None:
        noise = torch.randn(4, taps, generator=torch.Generator().manual_seed(1))
        responses = DeviceImpulseResponses(noise, SAMPLES)
    augmentation = Augmentation(
        responses=responses,
        dir_probability=0.6,
        roll_samples=furthest,
        mixstyle_probability=0.0,
        mixstyle_alpha=0.4,
    )
    ours, reference = torch.Generator().manual_seed(2), torch.Generator().manual_seed(2)
    convolved = 0
    for batch in batches_of(samples, scale):
        waveforms = batch.clips.gather()
        if responses is not None:
            rows, chosen = responses.draw(batch.eligible_for_dir, 0.6, reference)
            for row, response in zip(rows, chosen, strict=True):
                full = convolve(waveforms[row].numpy(), noise[response].numpy())
                waveforms[row] = torch.from_numpy(full[:SAMPLES])
            convolved += len(rows)
        shifts = draw_shifts(len(waveforms), SAMPLES, furthest, reference)
        expected = [clip.roll(int(shift)) for clip, shift in zip(waveforms, shifts, strict=True)]
        found = augmentation.waveforms(batch, ours)
        assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    assert torch.equal(ours.get_state(), reference.get_state()), "other draws for what follows"
    assert (convolved > 0) == (taps is not None)


def test_fft_lengths_are_enough_and_hold_a_large_power_of_two():
    for at_least in [1, 2, 7, 8, 9, 47_999, 48_000, 65_536, 66_149, 98_305]:
        length = fft_length(at_least)
        assert at_least <= length < max(1.26 * at_least, 9)
        power = length & -length
        assert length // power < 16
    assert fft_length(44_100 + 22_050 - 1) == 73_728
