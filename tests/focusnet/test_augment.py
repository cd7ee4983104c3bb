"""Augmentation, compared with references that work clip by clip."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import convolve

from focusnet.augment import (
    DeviceImpulseResponses,
    draw_shifts,
    frequency_mixstyle,
    mix_frequency_statistics,
    read_impulse_responses,
    roll_into,
)
from focusnet.errors import DataError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_clip_is_rolled_by_its_own_draw_within_the_range():
    waveforms = torch.arange(1000.0).repeat(300, 1)
    rolled = torch.empty_like(waveforms)
    drawn = draw_shifts(300, 1000, 30, seeded())
    roll_into(rolled, torch.arange(300).flip(0), waveforms, drawn.flip(0))
    shifts = torch.randint(-30, 31, (300,), generator=seeded())
    for row, shift in zip(rolled, shifts.tolist(), strict=True):
        assert torch.equal(row, waveforms[0].roll(shift))
    assert set(shifts.tolist()) == set(range(-30, 31))


def test_a_roll_of_zero_draws_nothing():
    generator = seeded()
    assert draw_shifts(2, 10, 0, generator).tolist() == [0, 0]
    assert torch.equal(generator.get_state(), seeded().get_state())


def convolved(responses: torch.Tensor, waveforms: torch.Tensor, eligible, probability: float):
    """Waveforms after DIR."""
    samples = waveforms.shape[1]
    dir_augmentation = DeviceImpulseResponses(responses, samples)
    rows, chosen = dir_augmentation.draw(eligible, probability, seeded())
    padded = torch.nn.functional.pad(waveforms[rows], (0, dir_augmentation.n_fft - samples))
    full = dir_augmentation.convolve(padded, chosen)
    return waveforms.index_copy(0, rows, full[:, :samples])


def test_dir_convolves_drawn_clips_of_device_a_and_no_others():
    rng = np.random.default_rng(0)
    waveforms = torch.from_numpy(rng.normal(0, 0.1, (40, 500)).astype(np.float32))
    responses = torch.from_numpy(rng.normal(0, 1, (3, 80)).astype(np.float32))
    eligible = torch.arange(40) < 30
    augmented = convolved(responses, waveforms, eligible, 0.6)
    generator = seeded()
    drawn = torch.rand(40, generator=generator) < 0.6
    choice = torch.randint(3, (40,), generator=generator)
    changed = 0
    for i in range(40):
        expected = waveforms[i].double().numpy()
        if drawn[i] and eligible[i]:
            changed += 1
            expected = convolve(expected, responses[choice[i]].double().numpy(), "full")[:500]
        np.testing.assert_allclose(augmented[i].numpy(), expected, atol=1e-5)
    assert 10 < changed < 26


def test_taps_of_a_response_beyond_the_clips_length_are_ignored():
    response = torch.zeros(1, 300)
    response[0, 0], response[0, 250] = 1.0, 5.0
    waveforms = torch.randn(1, 100, generator=seeded())
    same = convolved(response, waveforms, torch.tensor([True]), 1.0)
    assert torch.allclose(same, waveforms, atol=1e-5)


@pytest.mark.esc10
def test_real_impulse_responses_are_sorted_by_name_and_resampled(impulse_responses: Path):
    files = sorted(impulse_responses.glob("*.wav"))
    responses = read_impulse_responses(impulse_responses, 32_000)
    assert len(responses) == len(files) == 8
    signal, rate = soundfile.read(files[2])
    assert abs((responses[2] != 0).nonzero().max().item() / 32_000 - len(signal) / rate) < 0.01


def test_unusable_impulse_responses_are_all_named(tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF????")
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 44_100)
    with pytest.raises(DataError, match=r"(?s)broken\.wav.*silent\.wav: .* not silent"):
        read_impulse_responses(tmp_path, 44_100)


def test_a_folder_without_impulse_responses_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no WAV file"):
        read_impulse_responses(tmp_path, 44_100)
    with pytest.raises(DataError, match="is not a folder"):
        read_impulse_responses(tmp_path / "nowhere", 44_100)


def test_mixstyle_gives_each_clip_the_mixed_statistics():
    spec = torch.randn(4, 1, 6, 50, generator=seeded(), dtype=torch.float64) * 2 + 1
    lam, perm = torch.tensor([1.0, 0.0, 0.3, 0.8], dtype=torch.float64), torch.tensor([1, 2, 3, 0])
    mixed = mix_frequency_statistics(spec, lam, perm)
    mean, sigma = spec.mean(3), (spec.var(3) + 1e-6).sqrt()
    share = lam[:, None, None]
    assert torch.allclose(mixed.mean(3), share * mean + (1 - share) * mean[perm])
    expected = (share * sigma + (1 - share) * sigma[perm]) * (spec.std(3) / sigma)
    assert torch.allclose(mixed.std(3), expected)
    assert torch.allclose(mixed[0], spec[0]), "its own statistics only: unchanged"


def test_no_gradient_flows_through_the_statistics_of_mixstyle():
    spec = torch.randn(3, 1, 4, 20, generator=seeded(), dtype=torch.float64, requires_grad=True)
    lam, perm = torch.full((3,), 0.4, dtype=torch.float64), torch.tensor([2, 0, 1])
    mix_frequency_statistics(spec, lam, perm).sum().backward()
    sigma = (spec.var(dim=(1, 3), keepdim=True) + 1e-6).sqrt()
    expected = (0.4 * sigma + 0.6 * sigma[perm]) / sigma
    assert torch.allclose(spec.grad, expected.expand_as(spec))


def test_mixstyle_changes_whole_batches_with_its_probability():
    spec, generator = torch.randn(8, 1, 4, 10), seeded()
    changed = [
        not torch.equal(frequency_mixstyle(spec, 0.4, 0.4, generator), spec) for _ in range(300)
    ]
    assert 0.33 < np.mean(changed) < 0.47
    assert frequency_mixstyle(spec, 0.0, 0.4, generator) is spec


def test_shares_follow_the_beta_distribution():
    # Clips are constant 0 or 1 plus a little noise, so the mean of a mixed clip is the share.
    generator, shares = seeded(), []
    for _ in range(400):
        spec = torch.randn(16, 1, 1, 50, generator=generator) * 1e-3
        spec = spec - spec.mean(3, keepdim=True) + (torch.arange(16) % 2).view(-1, 1, 1, 1)
        mixed = frequency_mixstyle(spec, 1.0, 0.4, generator).mean(3).flatten()
        odd, even = mixed[1::2], mixed[0::2]
        shares += [odd, 1 - even]
    # In about half of the draws both clips are alike; the result then equals a share of 1.
    share = torch.cat(shares)
    expected = torch.distributions.Beta(0.4, 0.4)
    partners_alike = 7 / 15 * (15 / 16) + 1 / 16
    mean = partners_alike + (1 - partners_alike) * expected.mean
    assert share.mean().item() == pytest.approx(mean.item(), abs=0.02)
    second = partners_alike + (1 - partners_alike) * (expected.variance + expected.mean**2)
    assert share.square().mean().item() == pytest.approx(second.item(), abs=0.02)
