"""Augments waveforms and spectrograms, batched on the training device.

Random decisions are drawn on the CPU from the trial's generator. So a CPU and a GPU make the same
ones, and no draw waits for the GPU.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Generator, Tensor

from focusnet.errors import DataError
from focusnet.system.device import send


def draw_shifts(
    count: int, samples: int, furthest: int, generator: Generator | None = None
) -> Tensor:
    """Draw a roll in [-furthest, furthest] samples for each clip, modulo ``samples``: (count,).

    With ``furthest`` 0 nothing is drawn and all rolls are 0.
    """
    if furthest < 1:
        return torch.zeros(count, dtype=torch.int64)
    return torch.randint(-furthest, furthest + 1, (count,), generator=generator) % samples


def roll_into(target: Tensor, rows: Tensor, waveforms: Tensor, shifts: Tensor) -> None:
    """Roll each clip of ``waveforms`` (K, samples) by its shift, into its row of ``target``.

    ``rows`` and ``shifts``, in [0, samples), are (K,) on the CPU.
    """
    samples = waveforms.shape[1]
    if target.device.type == "cpu":
        # On a CPU two memory copies per clip are several times faster than gathering by index.
        places, clips = target.numpy(), waveforms.numpy()
        for row, clip, shift in zip(rows.tolist(), clips, shifts.tolist(), strict=True):
            places[row, shift:] = clip[: samples - shift]
            places[row, :shift] = clip[samples - shift :]
        return
    target.index_copy_(0, send(rows, target.device), roll_by_index(waveforms, shifts))


def roll_by_index(waveforms: Tensor, shifts: Tensor) -> Tensor:
    """Roll each clip of (K, samples) by its shift, by one gather, which suits a GPU.

    ``shifts``, in [0, samples), are (K,) on the CPU.
    """
    samples = waveforms.shape[1]
    starts = send(samples - shifts, waveforms.device)
    index = (torch.arange(samples, device=waveforms.device) + starts[:, None]) % samples
    return waveforms.gather(1, index)


class DeviceImpulseResponses:
    """DIR augmentation: makes a clip sound as if recorded by another microphone.

    Source: Morocutti et al., "Device-robust acoustic scene classification via impulse response
    augmentation", EUSIPCO 2023 (arXiv:2305.07499).
    """

    def __init__(self, responses: Tensor, samples: int) -> None:
        """``responses``: (R, taps); ``samples``: length of the clips."""
        # Taps beyond the clip's length have no effect.
        responses = responses[:, :samples]
        self.n_fft = fft_length(samples + responses.shape[1] - 1)
        self.spectra = torch.fft.rfft(responses.float(), self.n_fft)

    def to(self, device: torch.device) -> "DeviceImpulseResponses":
        """Move the responses to ``device``; returns self."""
        self.spectra = self.spectra.to(device)
        return self

    def draw(
        self, eligible: Tensor, probability: float, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Draw, with ``probability``, which eligible clips are convolved, and with which response.

        Args:
            eligible: (B,) booleans on the CPU; in the recipe, whether device a recorded the clip.

        Returns:
            Rows of the clips and indices of their responses, (K,) each, on the CPU.
        """
        drawn = torch.rand(len(eligible), generator=generator) < probability
        choice = torch.randint(len(self.spectra), (len(eligible),), generator=generator)
        rows = torch.nonzero(drawn & eligible).squeeze(1)
        return rows, choice[rows]

    def convolve(self, padded: Tensor, responses: Tensor) -> Tensor:
        """Convolve each clip with its response.

        Args:
            padded: clips, padded with zeros to (K, n_fft).
            responses: (K,) indices of responses, on the CPU.

        Returns:
            The full convolutions, (K, n_fft).
        """
        # All clips in one transform, because each call makes a new FFT plan.
        spectra = torch.fft.rfft(padded)
        if padded.device.type == "cpu":
            # Row by row: stays in the CPU's cache and needs no copy of the responses' spectra.
            of_responses = self.spectra.numpy()
            for spectrum, response in zip(spectra.numpy(), responses.tolist(), strict=True):
                spectrum *= of_responses[response]
        else:
            spectra *= self.spectra[send(responses, padded.device)]
        return torch.fft.irfft(spectra, self.n_fft)


def fft_length(at_least: int) -> int:
    """Fast length for real FFTs: a power of two times 8, 9, 10, 12, 14 or 15.

    The power of two makes it faster than the shortest length with small factors: 73,728 instead of
    67,500 saves an eighth of the time.
    """
    power = 2 ** max(0, (at_least - 1).bit_length() - 4)
    return next(n * power for n in (8, 9, 10, 12, 14, 15, 16) if n * power >= at_least)


def read_impulse_responses(folder: Path, sample_rate: int) -> Tensor:
    """Read all WAV files below ``folder`` as mono at ``sample_rate``, zero-padded: (R, taps).

    Files are in the order of their paths, so that a draw picks the same response everywhere.

    Raises:
        DataError: the folder is missing or has no WAV file, or files are unusable (all are named).
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
    """Mix each clip's statistics per frequency bin with those of another clip.

    Frequency-wise MixStyle: Zhou et al., arXiv:2104.02008, over frequency instead of channels as
    in Schmid et al., DCASE 2022. Mean and standard deviation are taken over channel and time and
    carry no gradient.

    Args:
        spec: (B, 1, F, T).
        lam: share of a clip's own statistics, (B,) or (B, 1, 1, 1).
        perm: (B,) index of the clip that each one is mixed with.
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
    """Mix the frequency statistics of a batch (B, 1, F, T) with ``probability``.

    Whether to mix is drawn once per batch, the share from Beta(alpha, alpha) once per clip.
    """
    if probability <= 0 or float(torch.rand(1, generator=generator)) > probability:
        return spec
    batch = len(spec)
    # As torch.distributions.Beta draws, but from our generator.
    pairs = torch._sample_dirichlet(torch.full((batch, 2), alpha), generator=generator)
    perm = torch.randperm(batch, generator=generator)
    lam, perm = send(pairs[:, 0], spec.device), send(perm, spec.device)
    return mix_frequency_statistics(spec, lam, perm)
