"""Augmentation of waveforms and spectrograms, batched on the training device.

Every random decision is drawn on the CPU from the trial's generator, so that a GPU and a CPU make
the same ones, and no draw waits for the GPU.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Generator, Tensor, nn

from focusnet.errors import DataError
from focusnet.system.device import send


def draw_shifts(
    count: int, samples: int, furthest: int, generator: Generator | None = None
) -> Tensor:
    """For each of ``count`` clips a roll in [-furthest, furthest], modulo ``samples``: (count,).

    Where ``furthest`` is 0, nothing is drawn.
    """
    if furthest < 1:
        return torch.zeros(count, dtype=torch.int64)
    return torch.randint(-furthest, furthest + 1, (count,), generator=generator) % samples


def roll_into(target: Tensor, rows: Tensor, waveforms: Tensor, shifts: Tensor) -> None:
    """Write each clip of (K, samples), rolled by its shift, to its row of ``target``.

    ``shifts`` in [0, samples) and ``rows`` are (K,), on the CPU.
    """
    samples = waveforms.shape[1]
    if target.device.type == "cpu":
        # Two copies of memory per clip are several times faster here than gathering by index.
        places, clips = target.numpy(), waveforms.numpy()
        for row, clip, shift in zip(rows.tolist(), clips, shifts.tolist(), strict=True):
            places[row, shift:] = clip[: samples - shift]
            places[row, :shift] = clip[samples - shift :]
        return
    target.index_copy_(0, send(rows, target.device), roll_by_index(waveforms, shifts))


def roll_by_index(waveforms: Tensor, shifts: Tensor) -> Tensor:
    """Each clip of (K, samples), rolled by its shift in [0, samples): a gather, as a GPU likes it.

    ``shifts`` (K,) are on the CPU.
    """
    samples = waveforms.shape[1]
    starts = send(samples - shifts, waveforms.device)
    index = (torch.arange(samples, device=waveforms.device) + starts[:, None]) % samples
    return waveforms.gather(1, index)


def roll(waveforms: Tensor, furthest: int, generator: Generator | None = None) -> Tensor:
    """Roll each clip of (B, samples) by a whole number of samples in [-furthest, furthest]."""
    if furthest < 1:
        return waveforms
    rolled = torch.empty_like(waveforms)
    batch, samples = waveforms.shape
    shifts = draw_shifts(batch, samples, furthest, generator)
    roll_into(rolled, torch.arange(len(waveforms)), waveforms, shifts)
    return rolled


class DeviceImpulseResponses:
    """DIR augmentation: a clip sounds as if another microphone had recorded it.

    Source: Morocutti et al., "Device-robust acoustic scene classification via impulse response
    augmentation", EUSIPCO 2023 (arXiv:2305.07499).
    """

    def __init__(self, responses: Tensor, samples: int) -> None:
        """``responses``: (R, taps); ``samples``: length of the clips."""
        # Taps beyond the clip's length cannot reach it.
        responses = responses[:, :samples]
        self.n_fft = fft_length(samples + responses.shape[1] - 1)
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
        rows, responses = self.draw(eligible, probability, generator)
        if len(rows) == 0:
            return waveforms
        padding = self.n_fft - waveforms.shape[1]
        rows = send(rows, waveforms.device)
        convolved = self.convolve(nn.functional.pad(waveforms[rows], (0, padding)), responses)
        return waveforms.index_copy(0, rows, convolved[:, : waveforms.shape[1]])

    def draw(
        self, eligible: Tensor, probability: float, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Rows of the clips to convolve, and the response of each: two of (K,), on the CPU."""
        drawn = torch.rand(len(eligible), generator=generator) < probability
        choice = torch.randint(len(self.spectra), (len(eligible),), generator=generator)
        rows = torch.nonzero(drawn & eligible).squeeze(1)
        return rows, choice[rows]

    def convolve(self, padded: Tensor, responses: Tensor) -> Tensor:
        """Convolve clips, followed by zeros: (K, n_fft), each with its response: (K, n_fft)."""
        # All clips in one transform: each call plans anew.
        spectra = torch.fft.rfft(padded)
        if padded.device.type == "cpu":
            # Row by row, which stays in the cache and needs no copy of the responses' spectra.
            of_responses = self.spectra.numpy()
            for spectrum, response in zip(spectra.numpy(), responses.tolist(), strict=True):
                spectrum *= of_responses[response]
        else:
            spectra *= self.spectra[send(responses, padded.device)]
        return torch.fft.irfft(spectra, self.n_fft)


def fft_length(at_least: int) -> int:
    """A length for real FFTs: a power of two times 8, 9, 10, 12, 14 or 15.

    The power of two makes it faster than the shortest length of small factors: 73,728 instead of
    67,500 saves an eighth of the time.
    """
    power = 2 ** max(0, (at_least - 1).bit_length() - 4)
    return next(n * power for n in (8, 9, 10, 12, 14, 15, 16) if n * power >= at_least)


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
    lam, perm = send(pairs[:, 0], spec.device), send(perm, spec.device)
    return mix_frequency_statistics(spec, lam, perm)
