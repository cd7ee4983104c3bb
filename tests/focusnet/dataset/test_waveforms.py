"""Decoding to the cache: exact samples, bad clips named, no partial results, one builder."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from paths import ROOT

from focusnet.dataset import waveforms
from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.dataset.waveforms import open_waveforms
from focusnet.errors import DataError

RATE = 8000  # a low rate keeps the files small


@pytest.fixture
def audio_set(tmp_path, write_layout, clip) -> Callable[..., Dataset]:
    """Makes a data set of two scenes with noise in its files."""

    def make(name="data", clips_each=6, rate=RATE, frames=RATE // 10, subtype="PCM_16", seed=0):
        clips = [clip(s, f"lyon-{n}") for s in ("bus", "tram") for n in range(clips_each)]
        train = [c for c in clips if not c.location.endswith(("-0", "-1"))]
        test = [c for c in clips if c.location.endswith(("-0", "-1"))]
        root = write_layout(tmp_path / name, train, test)
        (root / "audio").mkdir(exist_ok=True)
        rng = np.random.default_rng(seed)
        for c in clips:
            noise = rng.uniform(-1, 1, frames)
            soundfile.write(root / c.filename, noise, rate, subtype=subtype)
        return read_dataset(root)

    return make


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def opened(dataset: Dataset, cache: Path, rate: int = RATE, bad: str = "error", **kwargs):
    return open_waveforms(dataset, sample_rate=rate, cache=cache, on_bad_clip=bad, **kwargs)


def audio_path(dataset: Dataset, row: int) -> Path:
    return dataset.root / dataset.clips["filename"].iloc[row]


def entries_of(cache: Path) -> list[str]:
    """The names in the cache except lock files."""
    return [p.name for p in (cache / "waveforms").iterdir() if p.suffix != ".lock"]


def test_16_bit_clips_at_their_own_rate_are_stored_exactly(audio_set, cache):
    dataset = audio_set()
    found = opened(dataset, cache)
    assert found.samples.dtype == np.int16
    assert found.samples.shape == (12, 800)
    assert found.scale == 1 / 32768
    assert (found.sample_rate, found.skipped) == (RATE, ())
    for row in range(12):
        exact, _ = soundfile.read(audio_path(dataset, row), dtype="int16")
        np.testing.assert_array_equal(found.samples[found.position[row]], exact)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "PCM_U8"])
def test_other_clips_become_float32(audio_set, cache, subtype):
    dataset = audio_set(subtype=subtype)
    found = opened(dataset, cache)
    assert found.samples.dtype == np.float32
    assert found.scale == 1.0
    for row in range(12):
        exact, _ = soundfile.read(audio_path(dataset, row), dtype="float32")
        np.testing.assert_array_equal(found.samples[found.position[row]], exact)


def test_one_24_bit_clip_makes_all_float32_and_16_bit_clips_stay_exact(audio_set, cache):
    dataset = audio_set()
    samples, _ = soundfile.read(audio_path(dataset, 3), dtype="int32")
    soundfile.write(audio_path(dataset, 3), samples + (1 << 10), RATE, subtype="PCM_24")
    found = opened(dataset, cache)
    exact, _ = soundfile.read(audio_path(dataset, 0), dtype="int16")
    np.testing.assert_array_equal(found.samples[found.position[0]] * 32768, exact)
    assert np.any(found.samples[found.position[3]] * 32768 % 1)


@pytest.mark.parametrize(
    ("source", "frames", "rate", "length"),
    [(44100, 44100, 32000, 32000), (8000, 802, 11025, 1106), (32000, 3200, 44100, 4410)],
)
def test_resampling_is_soxr_hq_with_the_length_of_librosa(
    audio_set, cache, source, frames, rate, length
):
    dataset = audio_set(clips_each=3, rate=source, frames=frames)
    found = opened(dataset, cache, rate=rate)
    assert found.samples.dtype == np.float32
    assert found.samples.shape == (6, length)
    for row in (0, 5):
        signal_in, _ = soundfile.read(audio_path(dataset, row), dtype="float32")
        expected = soxr.resample(signal_in, source, rate, quality="soxr_hq")[:length]
        stored = found.samples[found.position[row]]
        np.testing.assert_array_equal(stored[: len(expected)], expected)
        assert not stored[len(expected) :].any()
        assert length - len(expected) <= 1


def test_a_bad_clip_does_not_change_clips_resampled_with_it(audio_set, cache):
    dataset = audio_set(clips_each=10, subtype="FLOAT")
    alone = opened(dataset, cache / "alone", rate=11025)
    samples, _ = soundfile.read(audio_path(dataset, 3), dtype="float32")
    samples[5] = np.nan
    soundfile.write(audio_path(dataset, 3), samples, RATE, subtype="FLOAT")
    found = opened(dataset, cache, rate=11025, bad="skip")
    assert found.position[3] == -1
    for row in {*range(20)} - {3}:
        expected = alone.samples[alone.position[row]]
        np.testing.assert_array_equal(found.samples[found.position[row]], expected)


def test_the_samples_are_read_only(audio_set, cache):
    found = opened(audio_set(), cache)
    assert isinstance(found.samples, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.samples[0, 0] = 1


def test_the_second_trial_decodes_nothing(audio_set, cache, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "focusnet")
    dataset = audio_set()
    first = opened(dataset, cache)
    assert f"Decoding 12 clips of {dataset.root} at 8000 Hz" in caplog.messages
    caplog.clear()
    monkeypatch.setattr(waveforms, "run_tasks", None)  # calling it would fail
    second = opened(dataset, cache)
    assert not caplog.messages
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.samples, first.samples)


def test_several_processes_give_the_same_samples_as_one(audio_set, tmp_path, monkeypatch):
    dataset = audio_set(clips_each=20)
    alone = opened(dataset, tmp_path / "one", workers=1)
    monkeypatch.setattr(waveforms, "_CLIPS_PER_TASK", 3)
    monkeypatch.setattr(waveforms, "_CLIPS_PER_WORKER", 1)
    together = opened(dataset, tmp_path / "two", workers=2)
    np.testing.assert_array_equal(together.samples, alone.samples)
    assert together.fingerprint == alone.fingerprint


def test_clips_in_neither_split_may_be_missing(audio_set, cache):
    dataset = audio_set()
    with open(dataset.root / "meta.csv", "a") as file:
        file.write("audio/absent.wav\tzoo\toslo-1\ta\n")
    found = opened(read_dataset(dataset.root), cache)
    assert found.position.tolist() == [*range(12), -1]


def test_changed_audio_is_noticed_even_if_size_and_time_are_as_before(audio_set, cache):
    dataset = audio_set()
    before = opened(dataset, cache)
    path = audio_path(dataset, 5)
    state = path.stat()
    samples, _ = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples[::-1], RATE, subtype="PCM_16")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    after = opened(dataset, cache)
    np.testing.assert_array_equal(after.samples[after.position[5]], samples[::-1])
    assert after.fingerprint != before.fingerprint


def test_the_fingerprint_does_not_depend_on_place_time_or_row_order(audio_set, cache):
    dataset = audio_set()
    before = opened(dataset, cache).fingerprint
    moved = dataset.root.with_name("moved")
    shutil.copytree(dataset.root, moved, copy_function=shutil.copyfile)
    header, *rows = (moved / "meta.csv").read_text().splitlines(keepends=True)
    (moved / "meta.csv").write_text("".join([header, *rows[::-1]]))
    found = opened(read_dataset(moved), cache)
    assert found.fingerprint == before
    exact, _ = soundfile.read(audio_path(dataset, 0), dtype="int16")
    np.testing.assert_array_equal(found.samples[found.position[11]], exact)


def test_the_fingerprint_depends_on_samples_and_rate(audio_set, cache):
    fingerprints = {
        opened(audio_set(), cache).fingerprint,
        opened(audio_set(), cache, rate=16000).fingerprint,
        opened(audio_set("other", seed=1), cache).fingerprint,
        opened(audio_set("deep", subtype="PCM_24"), cache).fingerprint,
    }
    assert len(fingerprints) == 4


def spoil(dataset: Dataset) -> dict[str, str]:
    """Make seven clips unusable, each in another way; return the reason expected for each."""
    noise = np.random.default_rng(0).uniform(-1, 1, 800)
    path = {row: audio_path(dataset, row) for row in range(8)}
    path[1].unlink()
    path[2].write_bytes(b"")
    path[3].write_text("This is not audio. " * 20)
    soundfile.write(path[4], np.stack([noise, noise], 1), RATE, subtype="PCM_16")
    soundfile.write(path[5], noise, 2 * RATE, subtype="PCM_16")
    soundfile.write(path[6], np.where(np.arange(800) == 700, np.nan, noise), RATE, subtype="FLOAT")
    path[7].write_bytes(path[7].read_bytes()[:1000])
    reasons = [
        "no such file",
        "empty file",
        "not readable as audio: Format not recognised",
        "2 channels, must be mono",
        "16000 Hz, most clips have 8000 Hz",
        "has samples that are not finite numbers",
        "478 samples (0.060 s), shorter than most, which have 800 (0.100 s)",
    ]
    names = dataset.clips["filename"]
    return {names[row]: reason for row, reason in enumerate(reasons, start=1)}


def test_all_bad_clips_are_named_in_one_error_and_nothing_is_kept(audio_set, cache):
    dataset = audio_set(clips_each=12)
    expected = spoil(dataset)
    with pytest.raises(DataError) as caught:
        opened(dataset, cache)
    lead, *named = caught.value.problems
    assert lead.startswith(f"{dataset.root}: 7 of 24 clips cannot be used")
    assert "data.on_bad_clip: skip" in lead
    assert named == [f"{name}: {reason}" for name, reason in expected.items()]
    assert entries_of(cache) == []


def test_skipping_leaves_bad_clips_out_and_lists_them(audio_set, cache, monkeypatch):
    dataset = audio_set(clips_each=12)
    expected = spoil(dataset)
    found = opened(dataset, cache, bad="skip")
    assert found.skipped == tuple(f"{name}: {reason}" for name, reason in expected.items())
    assert np.flatnonzero(found.position == -1).tolist() == [1, 2, 3, 4, 5, 6, 7]
    for row in (0, 8, 23):
        exact, _ = soundfile.read(audio_path(dataset, row), dtype="float32")
        np.testing.assert_array_equal(found.samples[found.position[row]] * found.scale, exact)
    monkeypatch.setattr(waveforms, "run_tasks", None)  # decoding again would fail
    with pytest.raises(DataError, match="7 of 24 clips cannot be used"):
        opened(dataset, cache, bad="error")


def test_a_long_list_of_bad_clips_is_cut_with_its_count(audio_set, cache):
    dataset = audio_set(clips_each=80)
    for row in range(60):
        audio_path(dataset, row).unlink()
    with pytest.raises(DataError) as caught:
        opened(dataset, cache)
    assert len(caught.value.problems) == 52
    assert caught.value.problems[-1] == "... and 10 more"


def test_more_than_half_bad_is_an_error_even_when_skipping(audio_set, cache):
    dataset = audio_set()
    for row in range(7):
        audio_path(dataset, row).unlink()
    with pytest.raises(DataError, match=r"7 of 12 clips cannot be used \(more than half\)"):
        opened(dataset, cache, bad="skip")
    assert entries_of(cache) == []


def test_a_class_without_a_clip_left_is_an_error_even_when_skipping(audio_set, cache):
    dataset = audio_set(clips_each=3)  # one training clip and two test clips of each scene
    audio_path(dataset, int(dataset.train[1])).unlink()
    for _ in range(2):  # when the clips are decoded, and when they are read from the cache
        with pytest.raises(
            DataError, match=r"no training clip of 'tram' can be used(.|\n)*wav: no"
        ):
            opened(dataset, cache, bad="skip")


def test_too_little_room_is_noticed_before_anything_is_written(audio_set, cache, monkeypatch):
    room = shutil.disk_usage(Path(__file__))._replace(free=12 * 1600 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(DataError, match=r"needs 0.0 GB, 0.0 GB are free; set data.cache"):
        opened(audio_set(), cache)
    assert entries_of(cache) == []


def test_a_cache_that_cannot_be_written_is_named(audio_set, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="file/waveforms: cannot be written"):
        opened(audio_set(), tmp_path / "file")


def test_audio_that_changes_while_it_is_decoded_is_not_kept(audio_set, cache, monkeypatch):
    dataset = audio_set()
    run_tasks = waveforms.run_tasks

    def change_and_run(*args):
        os.utime(audio_path(dataset, 0))
        return run_tasks(*args)

    monkeypatch.setattr(waveforms, "run_tasks", change_and_run)
    with pytest.raises(DataError, match="changed while it was decoded"):
        opened(dataset, cache)
    assert entries_of(cache) == []


def test_a_damaged_array_is_decoded_again(audio_set, cache):
    dataset = audio_set()
    expected = np.array(opened(dataset, cache).samples)
    (array,) = (cache / "waveforms").glob("*/samples.npy")
    os.truncate(array, 500)
    np.testing.assert_array_equal(opened(dataset, cache).samples, expected)


# A process of its own that opens the data set argv[1] with the cache argv[2]; {} patches it.
PROCESS = """
import logging, sys, time
from pathlib import Path
from focusnet.dataset import waveforms
from focusnet.dataset.layout import read_dataset
logging.basicConfig(level=logging.INFO)  # on stderr
root, cache = map(Path, sys.argv[1:])
waveforms._CLIPS_PER_TASK = 4
run_tasks = waveforms.run_tasks
{}
found = waveforms.open_waveforms(read_dataset(root), sample_rate=8000, cache=cache, on_bad_clip="error")
print(found.fingerprint)
"""  # noqa: E501


def start(patch: str, dataset: Dataset, cache: Path, stderr: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(patch), dataset.root, cache],
        stdout=subprocess.PIPE,
        stderr=stderr.open("w"),
        text=True,
        cwd=ROOT,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for 60 s"
        time.sleep(0.02)


def test_of_two_processes_one_decodes_and_one_waits(audio_set, cache, tmp_path):
    dataset = audio_set()
    # The process that decodes waits until the other has logged that it waits.
    patch = f"""
def patiently(*args):
    while not Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.02)
    return run_tasks(*args)
waveforms.run_tasks = patiently
"""
    logs = [tmp_path / "first.txt", tmp_path / "second.txt"]
    both = [start(patch, dataset, cache, stderr) for stderr in logs]
    wait_until(lambda: any("waiting for it" in path.read_text() for path in logs))
    (tmp_path / "go").touch()
    fingerprints = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert fingerprints[0] == fingerprints[1] != ""
    text = "".join(path.read_text() for path in logs)
    assert text.count("Decoded 12 clips") == text.count("waiting for it") == 1


@pytest.mark.parametrize("next_is_another", [False, True])
def test_the_partial_folder_of_a_killed_builder_is_removed_by_the_next(
    audio_set, cache, tmp_path, next_is_another
):
    dataset = audio_set()
    half_way = tmp_path / "half_way"
    patch = f"""
def stuck(pool, function, tasks, advance):
    if function is not waveforms.decode_into: return run_tasks(pool, function, tasks, advance)
    run_tasks(pool, function, tasks[:2], advance)
    Path({str(half_way)!r}).touch()
    time.sleep(600)
waveforms.run_tasks = stuck
"""
    builder = start(patch, dataset, cache, tmp_path / "stderr.txt")
    wait_until(half_way.exists)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    builder.stdout.close()
    (left,) = entries_of(cache)
    assert left.endswith(".part")

    # The next builder removes it, whichever data set it decodes.
    after = audio_set("other", seed=1) if next_is_another else dataset
    found = opened(after, cache)
    exact, _ = soundfile.read(audio_path(after, 11), dtype="int16")
    np.testing.assert_array_equal(found.samples[found.position[11]], exact)
    assert len(entries_of(cache)) == 1
    assert left not in entries_of(cache)


def test_the_partial_folder_of_a_living_builder_is_not_removed(audio_set, cache, tmp_path):
    dataset = audio_set()
    patch = f"""
def patiently(pool, function, tasks, advance):
    if function is waveforms.decode_into:
        Path({str(tmp_path / "building")!r}).touch()
        while not Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.02)
    return run_tasks(pool, function, tasks, advance)
waveforms.run_tasks = patiently
"""
    builder = start(patch, dataset, cache, tmp_path / "stderr.txt")
    wait_until((tmp_path / "building").exists)
    opened(audio_set("other", seed=1), cache)
    (tmp_path / "go").touch()
    fingerprint, _ = builder.communicate(timeout=60)
    assert builder.returncode == 0
    assert fingerprint.strip() == opened(dataset, cache).fingerprint


def test_a_full_disk_leaves_no_partial_folder(audio_set, cache, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"
    process = start(limit, audio_set(), cache, tmp_path / "stderr.txt")
    process.communicate(timeout=60)
    text = (tmp_path / "stderr.txt").read_text()
    assert process.returncode != 0
    assert "decoding stopped, nothing kept: [Errno 27] File too large" in text
    assert entries_of(cache) == []


@pytest.mark.slow
@pytest.mark.esc10
def test_real_recordings_are_decoded_exactly(esc10_root, cache):
    dataset = read_dataset(esc10_root)
    found = opened(dataset, cache, rate=44100)
    assert found.samples.shape == (len(dataset.clips), 44100)
    assert found.samples.dtype == np.int16
    for row in (0, 700, len(dataset.clips) - 1):
        exact, _ = soundfile.read(audio_path(dataset, row), dtype="int16")
        np.testing.assert_array_equal(found.samples[found.position[row]], exact)
