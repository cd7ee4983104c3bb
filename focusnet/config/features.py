"""Settings of a log-mel front end."""

from typing import Annotated

from pydantic import Field, model_validator

from focusnet.config.base import NonNegative, Positive, Settings


class FeatureConfig(Settings):
    """Log-mel front end."""

    sample_rate: Annotated[int, Field(ge=8000, le=192_000)] = 44_100
    """Sample rate in Hz; files with another rate are resampled."""
    n_mels: Annotated[int, Field(ge=16)] = 128
    """Number of mel bins."""
    n_fft: Annotated[int, Field(ge=64)] = 1024
    """FFT length in samples; even."""
    win_length: Annotated[int, Field(ge=32)] = 800
    """Window length in samples, at most `n_fft`."""
    hop_length: Annotated[int, Field(ge=16)] = 320
    """Hop between frames in samples."""
    fmin: NonNegative = 0.0
    """Lowest mel edge in Hz."""
    fmax: Positive | None = None
    """Highest mel edge in Hz; `null`: (`sample_rate` - `augment.fmax_aug_range`) / 2."""

    @model_validator(mode="after")
    def _consistent(self) -> "FeatureConfig":
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, received {self.n_fft}")
        top = self.fmax if self.fmax is not None else self.sample_rate / 2
        if not self.fmin < top <= self.sample_rate / 2:
            raise ValueError(
                f"needs fmin < fmax <= sample_rate / 2, received fmin {self.fmin:g}, "
                f"fmax {top:g}, sample_rate {self.sample_rate}"
            )
        return self
