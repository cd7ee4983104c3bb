"""Augments training batches: waveforms before the log-mel front end, spectrograms after it."""

from torch import Generator, Tensor, nn

from focusnet.augment import DeviceImpulseResponses, draw_shifts, frequency_mixstyle, roll_into
from focusnet.training.batches import Batch


class Augmentation:
    """Augments a training batch before and after the log-mel front end."""

    def __init__(
        self,
        *,
        responses: DeviceImpulseResponses | None,
        dir_probability: float,
        roll_samples: int,
        mixstyle_probability: float,
        mixstyle_alpha: float,
    ) -> None:
        self.responses = responses
        self.dir_probability = dir_probability
        self.roll_samples = roll_samples
        self.mixstyle_probability = mixstyle_probability
        self.mixstyle_alpha = mixstyle_alpha

    def waveforms(self, batch: Batch, generator: Generator) -> Tensor:
        """DIR, then roll: (B, samples)."""
        clips = batch.clips
        rows = None
        if self.responses is not None:
            rows, chosen = self.responses.draw(
                batch.eligible_for_dir, self.dir_probability, generator
            )
        samples = clips.samples.shape[1]
        shifts = draw_shifts(len(clips.rows), samples, self.roll_samples, generator)
        waveforms = clips.gather(shifts)
        if self.responses is not None and rows is not None and len(rows):
            padded = clips.take(rows).gather(length=self.responses.n_fft)
            convolved = self.responses.convolve(padded, chosen)[:, :samples]
            roll_into(waveforms, rows, convolved, shifts[rows])
        return waveforms

    def spectrogram(self, batch: Batch, mel: nn.Module, generator: Generator) -> Tensor:
        """DIR, roll, log-mel with its masks, mix-style: (B, 1, n_mels, frames)."""
        spec = mel(self.waveforms(batch, generator), generator).unsqueeze(1)
        return frequency_mixstyle(spec, self.mixstyle_probability, self.mixstyle_alpha, generator)
