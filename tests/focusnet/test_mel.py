"""The log-mel front end, compared with hear21passt's, and its augmentation."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focusnet.mel import LogMel, apply_filters, draw_spans, mel_bank


def reference_mel(rate: int, **changes):
    from hear21passt.models.preprocess import AugmentMelSTFT

    settings = {"fmax_aug_range": 1000, "timem": 20, "fmax": rate // 2 - 500} | changes
    return AugmentMelSTFT(sr=rate, **settings)


def clips(rate: int, batch: int = 11) -> torch.Tensor:
    time = torch.arange(rate) / rate
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(batch, rate, generator=generator) * 0.1
    tones = torch.sin(2 * torch.pi * torch.linspace(50, rate / 2.1, batch)[:, None] * time)
    return (noise + 0.3 * tones).clamp(-1, 1)


@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_evaluation_equals_hear21passt_to_1e_4(rate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference_mel(rate).eval()(clips(rate))
    spec = LogMel(sample_rate=rate).eval()(clips(rate))
    assert spec.shape == (11, 128, LogMel(sample_rate=rate).frames(rate - 1))
    assert (spec - expected).abs().max() < 1e-4


def test_silence_gives_the_lowest_value():
    spec = LogMel().eval()(torch.zeros(1, 32_000))
    floor = (torch.tensor(1e-5).log() + 4.5) / 5
    assert torch.allclose(spec, floor.expand_as(spec))


@pytest.mark.esc10
@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_real_recordings_equal_hear21passt(rate, esc10_root: Path):
    import soxr

    files = sorted((esc10_root / "audio").glob("*.wav"))[::40]
    audio = [soxr.resample(soundfile.read(file)[0], 44_100, rate) for file in files]
    waveforms = torch.from_numpy(np.stack(audio).astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference_mel(rate).eval()(waveforms)
    assert (LogMel(sample_rate=rate).eval()(waveforms) - expected).abs().max() < 1e-4


def test_without_masks_and_jitter_training_equals_evaluation():
    mel = LogMel(fmax=15_500.0, fmax_aug_range=1, freq_mask=0, time_mask=0)
    waveforms = clips(32_000, 3)
    assert torch.equal(mel.train()(waveforms), mel.eval()(waveforms))


def test_edge_jitter_moves_the_banks_as_in_the_reference():
    # Finds a seed that draws the lowest fmax, and sets the reference's fmax to that.
    rate, low = 32_000, 15_500 + 500 - 999
    generator = torch.Generator()
    seed = next(s for s in range(10**6) if draw(generator, s) == 999)
    mel = LogMel(sample_rate=rate, freq_mask=0, time_mask=0).train()
    spec = mel(clips(rate, 2), generator.manual_seed(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = reference_mel(rate, fmax=low).eval()(clips(rate, 2))
    assert (spec - expected).abs().max() < 1e-4


def draw(generator, seed):
    generator.manual_seed(seed)
    torch.randint(1, (1,), generator=generator)
    return int(torch.randint(1000, (1,), generator=generator))


def test_augmentation_depends_on_the_seed_only():
    mel = LogMel().train()
    waveforms = clips(32_000, 4)
    first, again, other = (mel(waveforms, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("axis", "size", "longest"), [(1, 128, 48), (2, 100, 20)])
def test_each_clip_has_one_masked_span_of_its_own(axis, size, longest):
    masked = draw_spans(400, size, longest, axis, torch.Generator().manual_seed(0))
    assert masked.shape == ((400, size, 1) if axis == 1 else (400, 1, size))
    lines = masked.squeeze(3 - axis)  # (B, size)
    widths = lines.sum(dim=1)
    assert widths.max() < longest
    assert widths.float().mean().item() == pytest.approx((longest - 1) / 2, rel=0.15)
    edges = lines.int().diff(dim=1).abs().sum(dim=1)
    assert edges.max() <= 2, "more than one span"
    starts = lines.int().argmax(dim=1)[widths > 0]
    assert starts.min() < size * 0.1
    assert starts.max() > size * 0.6


def test_a_mask_longer_than_the_spectrogram_fits_into_it():
    spans = draw_spans(200, 5, 48, 2, torch.Generator().manual_seed(0))
    assert 0 < spans.sum(dim=2).max() < 5


def test_masks_zero_whole_bins_and_frames_before_the_normalisation():
    mel = LogMel(fmax_aug_range=1, fmax=15_500.0)
    waveforms = clips(32_000, 40)
    masked = mel.train()(waveforms, torch.Generator().manual_seed(0)) != mel.eval()(waveforms)
    bins, frames = masked.all(dim=2), masked.all(dim=1)
    assert torch.equal(masked, bins.unsqueeze(2) | frames.unsqueeze(1)), "not whole lines"
    assert bins.any()
    assert frames.any()
    assert (mel.train()(waveforms, torch.Generator().manual_seed(0))[masked] == 4.5 / 5).all()


@settings(deadline=None, max_examples=25)
@given(
    n_mels=st.integers(16, 160),
    n_fft=st.sampled_from([64, 256, 1024]),
    fmin=st.floats(0, 2000),
    seed=st.integers(0, 99),
)
def test_filters_without_their_zeros_equal_the_whole_matrix_product(n_mels, n_fft, fmin, seed):
    bank = mel_bank(n_mels, n_fft, 16_000, fmin, 7_500.0)  # with empty filters where bins are few
    power = torch.rand(2, n_fft // 2 + 1, 5, generator=torch.Generator().manual_seed(seed))
    expected = bank.double() @ power.double()
    filtered = apply_filters(bank, power)
    assert filtered.shape == (2, n_mels, 5)
    assert (filtered - expected).abs().max() <= 1e-6 * max(float(expected.max()), 1.0)
