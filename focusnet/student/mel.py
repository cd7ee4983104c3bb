"""Computes the student's log-mel spectrograms with torchaudio's own transform."""

import torch
from torch import Generator, Tensor, nn
from torchaudio.transforms import MelSpectrogram

from focusnet.mel import draw_spans
from focusnet.system.device import send


class StudentMel(nn.Module):
    """Waveforms (B, samples) in [-1, 1] to log-mel spectrograms (B, n_mels, frames).

    The front end of the DCASE24 Task 1 baseline: torchaudio's ``MelSpectrogram`` (HTK mels, no
    norm, power), then ``log(x + 1e-5)``. In training mode a frequency and a time mask, one draw per
    clip, set bins and frames to 0 before the logarithm.

    Args:
        sample_rate: Hz.
        n_mels: bins.
        n_fft, win_length, hop_length: samples.
        fmin, fmax: edges of the mel filters in Hz; ``fmax`` defaults to ``sample_rate / 2``.
        freq_mask, time_mask: bound of the mask's length in bins and frames; 0 disables it.
    """

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 256,
        n_fft: int = 4096,
        win_length: int = 3072,
        hop_length: int = 500,
        fmin: float = 0.0,
        fmax: float | None = None,
        freq_mask: int = 48,
        time_mask: int = 0,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.hop_length = hop_length
        self.freq_mask = freq_mask
        self.time_mask = time_mask
        self.mel = MelSpectrogram(
            sample_rate=sample_rate,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            f_min=fmin,
            f_max=fmax,
            n_mels=n_mels,
        )

    def frames(self, samples: int) -> int:
        """Number of frames of a clip of ``samples`` samples."""
        return samples // self.hop_length + 1

    def forward(self, waveforms: Tensor, generator: Generator | None = None) -> Tensor:
        """Compute spectrograms; ``generator`` (CPU, default torch's own) draws the masks."""
        # bf16 is too coarse for the STFT.
        with torch.autocast(waveforms.device.type, enabled=False):
            spec = self.mel(waveforms.float())
            if self.training:
                for axis, longest in ((1, self.freq_mask), (2, self.time_mask)):
                    if longest:
                        size = spec.shape[axis]
                        inside = draw_spans(len(spec), size, longest, axis, generator)
                        spec = spec.masked_fill(send(inside, spec.device), 0.0)
            return (spec + 1e-5).log()
