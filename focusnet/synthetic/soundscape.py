"""Synthesises the sound of a location (noise, hum, voices, events) and its recording by a device.

Scenes are confusable and locations and devices differ, so that a demonstration behaves like real
data. Sounds are mono float32 at ``SAMPLE_RATE``.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from focusnet.synthetic.scenes import Scene

SAMPLE_RATE = 44_100  # Hz

Sound = NDArray[np.float32]
Curve = NDArray[np.float64]  # dB at _OCTAVES


# The frequency axis on which spectra are drawn, in octaves above 1 kHz: 20 Hz to half the rate.
_OCTAVES = np.linspace(math.log2(0.02), math.log2(SAMPLE_RATE / 2000), 256)
_KNOTS = np.linspace(math.log2(0.05), 4.0, 8)  # of equalisers: 50 Hz to 16 kHz


def equaliser(rng: np.random.Generator, sd: float) -> Curve:
    """Draw a smooth random gain curve: eight knots in dB, evenly spaced in octaves."""
    return np.interp(_OCTAVES, _KNOTS, rng.normal(0.0, sd, len(_KNOTS)))


def soundscape(rng: np.random.Generator, location: Scene, colour: Curve, seconds: int) -> Sound:
    """The sound at a location, at an RMS of 0.06 with a standard deviation of 3 dB.

    ``colour`` (dB, from ``equaliser``) is a gain curve for the room, the city and the position.
    """
    n = seconds * SAMPLE_RATE
    noise = _noise(rng, n, _location_curve(location) + colour)
    sound = noise * np.maximum(1 + location.am_depth * _wander(rng, n, location.am_hz), 0.05)
    if location.hum_db > -math.inf:
        sound += _amplitude(location.hum_db) * _hum(rng, n, location.hum_hz)
    sound += _amplitude(location.babble_db) * _babble(rng, n)
    for kind, (event_db, longest, make) in _EVENTS.items():
        _scatter(rng, sound, getattr(location, kind), event_db, longest, make)
    rms = 0.06 * _amplitude(rng.normal(0.0, 3.0))
    return sound * np.float32(rms / _rms(sound))


# --- noise, hum and babble ------------------------------------------------------------------------


@lru_cache(maxsize=16)
def _bins(n: int) -> NDArray[np.float64]:
    """Frequencies of the spectrum of ``n`` samples in octaves above 1 kHz (0 Hz counts as 1 Hz)."""
    return np.log2(np.maximum(fft.rfftfreq(n, 1 / SAMPLE_RATE), 1.0) / 1000)


def _gain(n: int, curve: Curve) -> NDArray[np.float32]:
    """Amplitude at each frequency of ``n`` samples for a curve in dB; 0 below 20 Hz."""
    gain = np.interp(_bins(n), _OCTAVES, _amplitude(curve)).astype(np.float32)
    gain[_bins(n) < _OCTAVES[0]] = 0
    return gain


def _noise(rng: np.random.Generator, n: int, curve: Curve, keep: int = 1) -> Sound:
    """Gaussian noise of spectrum ``curve`` (dB), RMS 1; every ``keep``-th of ``n`` samples."""
    bins = n // keep // 2 + 1
    spectrum = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
    sound: Sound = fft.irfft(spectrum * _gain(n, curve)[:bins], n // keep)
    return sound / _rms(sound)


def _location_curve(location: Scene) -> Curve:
    # Flat below 50 Hz, because a steep tilt would put nearly all the power into inaudible bass.
    tilt = location.tilt * np.maximum(_OCTAVES, _KNOTS[0])
    return tilt + location.bump_db * _hill(location.bump_hz, 0.7)


def _hill(hz: float, width: float) -> Curve:
    """A Gaussian hill of height 1 around ``hz``, ``width`` octaves (sd) wide."""
    return np.exp(-0.5 * ((_OCTAVES - math.log2(hz / 1000)) / width) ** 2)


def _wander(rng: np.random.Generator, n: int, hz: float, rate: int = SAMPLE_RATE) -> Sound:
    """A slow random curve of about unit variance with frequencies up to ``hz``."""
    knots = math.ceil(2 * hz * n / rate) + 2
    at = np.arange(n, dtype=np.float64) * (2 * hz / rate) + rng.random()
    return np.interp(at, np.arange(knots), rng.normal(0.0, 1.2, knots)).astype(np.float32)


def _hum(rng: np.random.Generator, n: int, hz: float) -> Sound:
    """Twelve harmonics of a fundamental that drifts by a few percent, at RMS 1."""
    table_size = 8192
    harmonics = np.zeros(table_size // 2 + 1, dtype=np.complex128)
    order = np.arange(1, 13)
    strength = order**-0.5 * _amplitude(rng.normal(0.0, 2.0, 12))
    harmonics[order] = strength * np.exp(2j * np.pi * rng.random(12))
    period: Sound = fft.irfft(harmonics, table_size).astype(np.float32)
    phase = np.cumsum(hz * (1 + 0.03 * _wander(rng, n, 0.5)), dtype=np.float64) / SAMPLE_RATE
    # Looking up one period in a table costs a tenth of twelve sines.
    return period[(phase * table_size).astype(np.int64) % table_size] / _rms(period)


def _babble(rng: np.random.Generator, n: int) -> Sound:
    """Voices without words: noise around three formants, 3 to 5 syllables a second, RMS 1."""
    rate = SAMPLE_RATE // 4  # enough for the formants, and a quarter of the work
    seconds = np.arange(n // 4, dtype=np.float32) / rate
    babble = np.zeros_like(seconds)
    for formant, strength in ((500, 1.0), (1500, 0.6), (2500, 0.4)):
        curve = 40 * _hill(formant * rng.uniform(0.9, 1.1), 0.5) - 40
        syllables = rng.uniform(3, 5) * seconds + rng.random()
        syllables += 0.2 * _wander(rng, len(seconds), 2.0, rate)
        swing = np.float32(strength) * (1 - np.cos(2 * np.pi * syllables, dtype=np.float32))
        babble += _noise(rng, n, curve, keep=4) * swing
    babble = fft.irfft(fft.rfft(babble), n)
    return babble / _rms(babble)


# --- events ---------------------------------------------------------------------------------------


def _scatter(
    rng: np.random.Generator,
    sound: Sound,
    rate: float,
    level: float,
    longest: float,
    make: Callable[[np.random.Generator], Sound],
) -> None:
    """Add events at random times (a Poisson process) to ``sound`` in place.

    Events last at most ``longest`` seconds and start up to ``longest`` before the recording, so
    that its beginning is not quieter.
    """
    seconds = len(sound) / SAMPLE_RATE
    for _ in range(rng.poisson(rate * (seconds + longest))):
        start = round(rng.uniform(-longest, seconds) * SAMPLE_RATE)
        event = make(rng) * np.float32(_amplitude(rng.normal(level, 4.0)))
        heard = sound[max(start, 0) : max(start + len(event), 0)]
        heard += event[max(-start, 0) :][: len(heard)]


def _footstep(rng: np.random.Generator) -> Sound:
    n = round(0.04 * SAMPLE_RATE)
    curve = rng.normal(-2.0, 0.5) * np.maximum(_OCTAVES, -2)
    return _noise(rng, n, curve) * np.exp(-np.arange(n, dtype=np.float32) / (n / 4))


def _birdsong(rng: np.random.Generator) -> Sound:
    low, high = np.sort(rng.uniform(2500, 6500, 2))
    n = round(rng.uniform(0.05, 0.12) * SAMPLE_RATE)
    gap = np.zeros(round(rng.uniform(0.03, 0.1) * SAMPLE_RATE), dtype=np.float32)
    sweep = np.linspace(low, high, n)[:: rng.choice((-1, 1))]
    chirp = _tone(sweep) * _hann(n)
    return np.tile(np.concatenate([chirp, gap]), rng.integers(3, 7))


def _chime(rng: np.random.Generator) -> Sound:
    n = round(0.45 * SAMPLE_RATE)
    decay = np.exp(-np.arange(n, dtype=np.float32) / (n / 3))
    first = rng.uniform(500, 1200)
    second = first * rng.choice((4 / 5, 5 / 4, 4 / 3))
    return np.concatenate([_tone(np.full(n, hz)) * decay for hz in (first, second)])


def _squeal(rng: np.random.Generator) -> Sound:
    n = round(rng.uniform(0.4, 1.2) * SAMPLE_RATE)
    hz: Sound = rng.uniform(1500, 4500) * (1 + 0.02 * _wander(rng, n, 6.0))
    return (_tone(hz) + np.float32(0.4) * _tone(2 * hz)) * _hann(n)


def _swell(rng: np.random.Generator) -> Sound:
    n = round(rng.uniform(2.0, 4.0) * SAMPLE_RATE)
    curve = 30 * _hill(rng.uniform(60, 160), 1.8)
    return _noise(rng, 4 * SAMPLE_RATE, curve)[:n] * _hann(n)


def _hann(n: int) -> Sound:
    angle = np.linspace(0, 2 * np.pi, n, dtype=np.float32)
    return np.square(np.sin(angle / 2))


def _tone(hz: NDArray[np.floating]) -> Sound:
    """A sine of amplitude 1 that follows the frequency ``hz`` of each sample."""
    return np.sin(2 * np.pi * np.cumsum(hz, dtype=np.float64) / SAMPLE_RATE).astype(np.float32)


# By the name of their rate in Scene: level in dB, longest duration in seconds, function.
_EVENTS: dict[str, tuple[float, float, Callable[[np.random.Generator], Sound]]] = {
    "steps": (10.0, 0.04, _footstep),
    "birds": (-2.0, 1.4, _birdsong),
    "chimes": (-2.0, 0.9, _chime),
    "squeals": (-4.0, 1.2, _squeal),
    "swells": (12.0, 4.0, _swell),
}


# --- devices --------------------------------------------------------------------------------------


class Device(NamedTuple):
    """How a device changes what it records; by default not at all."""

    colour: Curve | None = None  # dB
    high_pass: float | None = None  # Hz
    low_pass: float | None = None  # Hz
    drive: float | None = None  # strength of soft clipping
    floor_db: float | None = None  # its own noise, relative to the recording


def draw_device(rng: np.random.Generator, name: str) -> Device:
    """Draw a device: ``a`` changes nothing, ``s...`` is a simulated phone, others are real ones."""
    if name == "a":
        return Device()
    if not name.startswith("s"):
        return Device(equaliser(rng, 2.0), high_pass=rng.uniform(60, 80))
    return Device(
        equaliser(rng, 3.0),
        high_pass=rng.uniform(60, 200),
        low_pass=rng.uniform(8_000, 16_000),
        drive=rng.uniform(0.5, 1.5),
        floor_db=rng.uniform(-50, -38),
    )


def record(rng: np.random.Generator, sound: Sound, device: Device) -> Sound:
    """``sound`` as ``device`` records it; the filters have zero phase and are circular."""
    if device.colour is None:
        return sound
    n = len(sound)
    low_pass = np.float32(1.0)
    if device.low_pass is not None:
        octaves = _bins(n) - math.log2(device.low_pass / 1000)
        low_pass = (1 / np.sqrt(1 + np.exp2(16 * np.minimum(octaves, 4)))).astype(np.float32)
    gain = _gain(n, device.colour) * low_pass
    if device.high_pass is not None:
        octaves = math.log2(device.high_pass / 1000) - _bins(n)
        gain /= np.sqrt(1 + np.exp2(4 * octaves)).astype(np.float32)
    recorded: Sound = fft.irfft(fft.rfft(sound) * gain, n)
    level = _rms(recorded)
    if device.drive is not None:
        # Peaks are at about three times the RMS, so a drive of 1 clips the peaks only.
        unit = np.float32(3 * level / device.drive)
        recorded = unit * np.tanh(recorded / unit)
    if device.floor_db is not None:
        white = rng.standard_normal(2 * (n // 2 + 1), dtype=np.float32).view(np.complex64)
        floor: Sound = fft.irfft(white * low_pass, n)
        recorded += floor * np.float32(level * _amplitude(device.floor_db) / _rms(floor))
    return recorded


def _amplitude(db: float | Curve) -> NDArray[np.float64]:
    return np.power(10.0, np.asarray(db) / 20)


def _rms(sound: Sound) -> np.float32:
    return np.float32(np.sqrt(np.mean(np.square(sound), dtype=np.float64)))
