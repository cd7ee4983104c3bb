"""Augmentation of waveforms and spectrograms, batched on the training device.

Every random decision is drawn on the CPU from the trial's generator, so that a GPU and a CPU make
the same ones, and no draw waits for the GPU.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from scipy.fft import next_fast_len
from torch import Generator, Tensor

from focusnet.errors import DataError


def roll(waveforms: Tensor, furthest: int, generator: Generator | None = None) -> Tensor:
    """Roll each clip of (B, samples) by a whole number of samples in [-furthest, furthest]."""
    if furthest < 1:
        return waveforms
    batch, samples = waveforms.shape
    shifts = torch.randint(-furthest, furthest + 1, (batch,), generator=generator) % samples
    if waveforms.device.type == "cpu":
        # Two copies of memory per clip are several times faster here than gathering by index.
        rolled = torch.empty_like(waveforms)
        for target, source, shift in zip(rolled, waveforms, shifts.tolist(), strict=True):
            target[shift:] = source[: samples - shift]
            target[:shift] = source[samples - shift :]
        return rolled
    starts = (samples - shifts).to(waveforms.device, non_blocking=True)
    index = (torch.arange(samples, device=waveforms.device) + starts[:, None]) % samples
    return waveforms.gather(1, index)


class DeviceImpulseResponses:
    """DIR augmentation: a clip sounds as if another microphone had recorded it.

    Source: Morocutti et al., "Device-robust acoustic scene classification via impulse response
    augmentation", EUSIPCO 2023 (arXiv:2305.07499).
    """

    def __init__(self, responses: Tensor, samples: int) -> None:
        """``responses``: (R, taps); ``samples``: length of the clips."""
        # Taps beyond the clip's length cannot reach it.
        responses = responses[:, :samples]
        self.n_fft = int(next_fast_len(samples + responses.shape[1] - 1, real=True))
        self.spectra = torch.fft.rfft(responses.float(), self.n_fft)

    def to(self, device: torch.device) -> "DeviceImpulseResponses":
        """Move the responses to ``device``; returns self."""
        self.spectra = self.spectra.to(device)
        return self

    def apply(
        self, waveforms: Tensor, eligible: Tensor, probability: float, generator: Generator | None
    ) -> Tensor:
        """Convolve each eligible clip, with ``probability``, with one response drawn for it.

        Args:
            waveforms: (B, samples).
            eligible: (B,) booleans on the CPU; the recipe takes the clips of device a.

        Returns:
            (B, samples): the first samples of the full convolution; other clips unchanged.
        """
        drawn = torch.rand(len(waveforms), generator=generator) < probability
        choice = torch.randint(len(self.spectra), (len(waveforms),), generator=generator)
        rows = torch.nonzero(drawn & eligible).squeeze(1)
        if len(rows) == 0:
            return waveforms
        response = choice[rows].to(waveforms.device, non_blocking=True)
        rows = rows.to(waveforms.device, non_blocking=True)
        spectra = torch.fft.rfft(waveforms[rows], self.n_fft) * self.spectra[response]
        convolved = torch.fft.irfft(spectra, self.n_fft)[:, : waveforms.shape[1]]
        return waveforms.index_copy(0, rows, convolved)


def read_impulse_responses(folder: Path, sample_rate: int) -> Tensor:
    """All WAV files below ``folder``, mono, at ``sample_rate``, zero-padded to one length: (R, T).

    Files come in the order of their names, so that a draw means the same everywhere.

    Raises:
        DataError: no such folder, no WAV file in it, or files that cannot be used (all named).
    """
    if not folder.is_dir():
        raise DataError(f"augment.dir_folder: {folder} is not a folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".wav")
    if not paths:
        raise DataError(f"augment.dir_folder: {folder} holds no WAV file")
    responses: list[np.ndarray] = []
    problems: list[str] = []
    for path in paths:
        try:
            signal, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            problems.append(f"{path}: cannot be read as an impulse response: {error}")
            continue
        mono = signal.mean(axis=1)
        if not np.isfinite(mono).all() or not mono.any():
            problems.append(f"{path}: an impulse response must be finite and not silent")
            continue
        responses.append(soxr.resample(mono, rate, sample_rate, quality="HQ"))
    if problems:
        raise DataError(problems)
    longest = max(len(response) for response in responses)
    padded = [np.pad(response, (0, longest - len(response))) for response in responses]
    return torch.from_numpy(np.stack(padded))


def mix_frequency_statistics(spec: Tensor, lam: Tensor, perm: Tensor) -> Tensor:
    """Give each clip a mixture of its own and another clip's statistics per frequency bin.

    Frequency-wise MixStyle: Zhou et al., arXiv:2104.02008, over frequency instead of channels as
    in Schmid et al., DCASE 2022. Mean and standard deviation are taken over channel and time and
    carry no gradient.

    Args:
        spec: (B, 1, F, T).
        lam: share of a clip's own statistics, (B,) or (B, 1, 1, 1).
        perm: (B,) the clip that each one mixes with.
    """
    lam = lam.reshape(-1, 1, 1, 1)
    mean = spec.mean(dim=(1, 3), keepdim=True).detach()
    sigma = (spec.var(dim=(1, 3), keepdim=True) + 1e-6).sqrt().detach()
    mixed_mean = mean * lam + mean[perm] * (1 - lam)
    mixed_sigma = sigma * lam + sigma[perm] * (1 - lam)
    return (spec - mean) / sigma * mixed_sigma + mixed_mean


def frequency_mixstyle(
    spec: Tensor, probability: float, alpha: float, generator: Generator | None = None
) -> Tensor:
    """With ``probability`` mix the whole batch (B, 1, F, T), shares drawn from Beta(alpha, alpha).

    The draw is one for a batch, the shares are one for a clip.
    """
    if probability <= 0 or float(torch.rand(1, generator=generator)) > probability:
        return spec
    batch = len(spec)
    # What torch.distributions.Beta does, but from our generator.
    pairs = torch._sample_dirichlet(torch.full((batch, 2), alpha), generator=generator)
    perm = torch.randperm(batch, generator=generator)
    lam = pairs[:, 0].to(spec.device, non_blocking=True)
    return mix_frequency_statistics(spec, lam, perm.to(spec.device, non_blocking=True))
