"""The student's front end, compared with torchaudio's transform and a float64 reference."""

import math

import numpy as np
import pytest
import torch
from torch import Generator
from torchaudio.transforms import MelSpectrogram

from focusnet.student import StudentMel

MASKED = math.log(1e-5)


def waveforms(count=3, samples=32_000):
    return 0.3 * torch.randn(count, samples, generator=Generator().manual_seed(1))


def htk_mel_reference(signal, rate, n_fft, window, hop, n_mels):
    """Log-mel spectrogram of one signal in float64 NumPy, by the definitions."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    left = (n_fft - window) // 2
    taper = np.pad(hann, (left, n_fft - window - left))
    padded = np.pad(signal, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * taper, axis=1)) ** 2
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, n_mels + 2) / 2595) - 1)
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    bank = [
        np.clip(np.minimum((bins - a) / (b - a), (c - bins) / (c - b)), 0, None)
        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    return np.log(np.array(bank) @ power.T + 1e-5)


def test_the_default_equals_torchaudio_as_the_baseline_calls_it():
    clips = waveforms()
    mel = MelSpectrogram(
        sample_rate=32_000, n_fft=4096, win_length=3072, hop_length=500, n_mels=256
    )
    found = StudentMel().eval()(clips)
    torch.testing.assert_close(found, (mel(clips) + 1e-5).log(), rtol=0, atol=1e-4)
    assert found.shape == (3, 256, 65)


def test_spectrograms_equal_the_definition_in_float64():
    clips = waveforms(1, 8000)
    front_end = StudentMel(16_000, 32, 1024, 800, 250).eval()
    expected = htk_mel_reference(clips[0].double().numpy(), 16_000, 1024, 800, 250, 32)
    np.testing.assert_allclose(front_end(clips)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("samples", [31_999, 32_000, 32_001, 4000])
def test_the_number_of_frames_is_that_of_the_spectrogram(samples):
    front_end = StudentMel().eval()
    assert front_end.frames(samples) == front_end(waveforms(1, samples)).shape[2]


def test_masks_are_drawn_for_each_clip_and_come_before_the_logarithm():
    front_end = StudentMel(freq_mask=100, time_mask=20).train()
    clips = waveforms(8)
    plain = front_end.eval()(clips)
    masked = front_end.train()(clips, Generator().manual_seed(4))
    changed = masked != plain
    assert masked[changed].tolist() == pytest.approx([MASKED] * int(changed.sum()))
    bins = changed.all(dim=2)
    assert len({tuple(row.tolist()) for row in bins}) > 1
    assert bins.sum(dim=1).max() < 100
    assert changed.all(dim=1).sum(dim=1).max() < 20


def test_the_generator_alone_decides_the_masks():
    front_end = StudentMel(time_mask=10).train()
    clips = waveforms()
    first = front_end(clips, Generator().manual_seed(7))
    assert torch.equal(first, front_end(clips, Generator().manual_seed(7)))
    assert not torch.equal(first, front_end(clips, Generator().manual_seed(8)))


def test_spectrograms_are_float32_under_autocast():
    front_end = StudentMel().eval()
    clips = waveforms(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = front_end(clips)
    assert torch.equal(found, front_end(clips))
