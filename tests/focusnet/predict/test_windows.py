"""Reading files of any rate, length and number of channels as windows."""

import os

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from focusnet.dataset.decoding import Form, decode
from focusnet.predict import windows as audio_windows
from focusnet.predict.windows import UnreadableAudio, windows

RATE = 8000


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("audio") / "x.wav"


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels))


def write(path, samples, rate=RATE, **options) -> np.ndarray:
    """Write a file; returns its content as float32."""
    soundfile.write(path, samples, rate, **{"subtype": "FLOAT"} | options)
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


@settings(max_examples=40)
@given(samples=st.integers(1, 3000), length=st.integers(10, 1200), block=st.integers(64, 900))
def test_windows_are_consecutive_and_the_last_ends_with_the_file(path, samples, length, block):
    content = write(path, noise(samples))[:, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_windows, "_BLOCK", block)
        found = list(windows(path, RATE, length))
    assert {len(window) for window in found} == {length}
    whole, rest = divmod(samples, length)
    if not whole:
        np.testing.assert_array_equal(found, [np.resize(content, length)])
        return
    expected = [content[length * n : length * (n + 1)] for n in range(whole)]
    if 100 * rest >= length:
        expected.append(content[-length:])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rate", [32_000, 22_050, 48_000])
def test_a_resampled_clip_equals_the_training_clip(path, rate, monkeypatch):
    monkeypatch.setattr(audio_windows, "_BLOCK", 7001)
    soundfile.write(path, noise(44_100), 44_100, subtype="PCM_24")
    form = Form(44_100, 44_100, rate, "float32")
    [window] = windows(path, rate, form.length)
    np.testing.assert_array_equal(window, decode(str(path), form))


def test_channels_are_averaged(path):
    content = write(path, noise(RATE, channels=3))
    [window] = windows(path, RATE, RATE)
    np.testing.assert_allclose(window, content.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_file_of_whole_blocks_has_no_extra_window(path, blocks, monkeypatch):
    monkeypatch.setattr(audio_windows, "_BLOCK", 500)
    write(path, noise(500 * blocks, channels=2))
    assert len(list(windows(path, RATE, 500))) == blocks
    assert len(list(windows(path, RATE // 2, 250))) == blocks


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_formats_of_libsndfile_are_read(path, form):
    soundfile.write(path, noise(44_100)[:, 0] / 4, 44_100, format=form)
    found = list(windows(path, 32_000, 16_000))
    assert len(found) in (2, 3)  # MP3 pads
    assert np.std(found[0]) > 0.05


def test_an_hour_of_audio_is_read_block_by_block(path, monkeypatch):
    seen: list[int] = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        np, "concatenate", lambda parts: (seen.append(sum(map(len, parts))), concatenate(parts))[1]
    )
    soundfile.write(path, np.zeros(3600 * 1000, np.int16) + 7, 1000, subtype="PCM_16")
    assert sum(1 for _ in windows(path, 1000, 10_000)) == 360
    assert max(seen) <= audio_windows._BLOCK + 10_000


def reason(path) -> str:
    with pytest.raises(UnreadableAudio) as caught:
        list(windows(path, RATE, 100))
    return str(caught.value)


def test_unusable_files_are_reported_with_the_reason(tmp_path):
    path = tmp_path / "x.wav"
    assert reason(path) == "no such file"
    path.write_bytes(b"")
    assert reason(path) == "empty file"
    path.write_text("no audio at all")
    assert reason(path).startswith("not readable as audio")
    write(path, np.zeros((0, 1)))
    assert reason(path) == "holds no samples"
    write(path, np.array([[0.0], [np.nan], [1.0]]))
    assert reason(path) == "has samples that are not finite numbers"
    soundfile.write(path, noise(50_000), RATE, format="FLAC")
    os.truncate(path, path.stat().st_size // 2)
    assert reason(path)
