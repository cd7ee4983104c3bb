"""The synthetic data set: layout, reproducibility, sound, devices, options and cache."""

import logging
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from focusnet.dataset.layout import read_dataset
from focusnet.errors import ConfigError, DataError
from focusnet.synthetic import generate as synthetic
from focusnet.synthetic.generate import ensure_dataset, make_dataset
from focusnet.synthetic.scenes import SCENES, draw_location
from focusnet.synthetic.soundscape import SAMPLE_RATE, draw_device, equaliser, record, soundscape

TAU_SCENES = [
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
]
SMALL = {"train_locations": 4, "test_locations": 2, "clips_per_location": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "data"
    make_dataset(root, **SMALL)
    return root


@pytest.fixture(scope="module")
def meta(root):
    return pd.read_csv(root / "meta.csv", sep="\t")


def table(root, name):
    return pd.read_csv(root / "evaluation_setup" / name, sep="\t")


def contents(root):
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def band_level(sound, low, high):
    """dB of the mean power density between two frequencies."""
    power = np.abs(np.fft.rfft(sound.astype(np.float64))) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    return 10 * math.log10(power[(hz >= low) & (hz < high)].mean())


def sound_of(scene, seed, seconds=4):
    """The sound at a new location of ``scene``, with a flat ``colour``."""
    rng = np.random.default_rng([seed, TAU_SCENES.index(scene)])
    return soundscape(rng, draw_location(rng, SCENES[scene]), np.zeros(256), seconds)


def mean_over_locations(scene, measure):
    return np.mean([measure(sound_of(scene, seed)) for seed in range(6)])


# --- layout ---------------------------------------------------------------------------------------


def test_the_data_set_is_read_as_ten_scenes_with_nine_devices(root):
    dataset = read_dataset(root)
    assert dataset.classes == tuple(TAU_SCENES)
    assert dataset.devices == ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
    assert len(dataset.train) == 10 * 4 * 2
    assert len(dataset.test) == 10 * 2 * 2


def test_file_names_agree_with_meta(meta):
    pattern = r"audio/([a-z_]+)-([a-z]+-\d+)-\d+-\d+-([a-z]\d?)\.wav"
    for row in meta.itertuples():
        scene, identifier, device = re.fullmatch(pattern, row.filename).groups()
        assert (scene, identifier, device) == (row.scene_label, row.identifier, row.source_label)


def test_audio_files_are_those_of_meta(root, meta):
    assert sorted(f"audio/{file.name}" for file in (root / "audio").iterdir()) == sorted(
        meta.filename
    )


def test_train_and_test_split_share_no_location_and_cover_all_clips(root, meta):
    train = table(root, "fold1_train.csv")
    evaluate = table(root, "fold1_evaluate.csv")
    places = meta.set_index("filename").identifier
    assert not set(places[train.filename]) & set(places[evaluate.filename])
    assert sorted([*train.filename, *evaluate.filename]) == sorted(meta.filename)
    assert table(root, "fold1_test.csv").filename.tolist() == evaluate.filename.tolist()


def test_every_location_has_one_scene_one_device_and_all_its_clips(meta):
    places = meta.groupby("identifier")
    assert (places.scene_label.nunique() == 1).all()
    assert (places.source_label.nunique() == 1).all()
    assert (places.size() == 2).all()
    assert len(places) == 10 * (4 + 2)


def test_subsets_are_nested_and_have_whole_locations_of_every_scene(root, meta):
    places = meta.set_index("filename").identifier
    expected_places = {5: 1, 10: 1, 25: 1, 50: 2, 100: 4}  # of four, in each scene
    smaller: set[str] = set()
    for percent, count in expected_places.items():
        subset = table(root, f"split{percent}.csv")
        assert smaller <= set(subset.filename)
        smaller = set(subset.filename)
        kept = subset.assign(place=places[subset.filename].to_numpy())
        assert (kept.groupby("scene_label").place.nunique() == count).all()
        assert (kept.groupby("place").size() == 2).all()
    assert smaller == set(table(root, "fold1_train.csv").filename)


def test_the_default_options_give_the_documented_numbers_of_clips_and_devices():
    plan = list(synthetic._plan(train=26, test=12, clips=4, seed=0))
    train = [recording.device for recording in plan if recording.split == "train"]
    test = [recording.device for recording in plan if recording.split == "test"]
    assert len(plan) * 4 == 1520
    assert train.count("a") == len(train) / 2
    assert {train.count(device) for device in ("b", "c", "s1", "s2", "s3")} == {26}
    assert set(train) == {"a", "b", "c", "s1", "s2", "s3"}
    assert {test.count(device) for device in synthetic.DEVICES} == {13, 14}


def test_cities_occur_in_both_splits_and_do_not_predict_the_device():
    plan = list(synthetic._plan(train=26, test=12, clips=4, seed=0))
    for city in synthetic.CITIES:
        here = [r for r in plan if r.city == city]
        assert {r.split for r in here} == {"train", "test"}
        trained = [r.device == "a" for r in here if r.split == "train"]
        assert 0.3 < np.mean(trained) < 0.7


# --- reproducibility ------------------------------------------------------------------------------


def test_the_number_of_workers_does_not_change_the_files(root, tmp_path):
    make_dataset(tmp_path / "again", **SMALL, workers=1)
    make_dataset(tmp_path / "many", **SMALL, workers=5)
    expected = contents(root)
    assert contents(tmp_path / "again") == expected
    assert contents(tmp_path / "many") == expected


def test_another_seed_gives_other_audio(root, tmp_path):
    make_dataset(tmp_path / "other", **SMALL, seed=1)
    first = {content for name, content in contents(root).items() if name.startswith("audio")}
    other = contents(tmp_path / "other")
    assert not first & {content for name, content in other.items() if name.startswith("audio")}


def test_a_location_sounds_the_same_in_a_larger_data_set(root, tmp_path):
    make_dataset(tmp_path / "larger", **{**SMALL, "train_locations": 5})
    larger = set(contents(tmp_path / "larger").values())
    train = table(root, "fold1_train.csv").filename
    assert all((root / name).read_bytes() in larger for name in train)


# --- sound ----------------------------------------------------------------------------------------


def test_clips_are_one_second_of_16_bit_mono_and_all_different(root, meta):
    seen = set()
    for name in meta.filename:
        info = soundfile.info(root / name)
        assert (info.samplerate, info.frames, info.channels) == (44_100, 44_100, 1)
        assert (info.format, info.subtype) == ("WAV", "PCM_16")
        seen.add(soundfile.read(root / name, dtype="int16")[0].tobytes())
    assert len(seen) == len(meta)


def test_clips_are_neither_silent_nor_clipped(root, meta):
    clips = np.stack([soundfile.read(root / name)[0] for name in meta.filename])
    typical = np.exp(np.log(np.sqrt((clips**2).mean(axis=1))).mean())
    assert 0.04 < typical < 0.09
    assert (np.abs(clips) > 0.999).mean() < 1e-3
    assert np.sqrt((clips**2).mean(axis=1)).min() > 0.003
    assert abs(clips.mean()) < 1e-3


@given(scene=st.sampled_from(TAU_SCENES), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_samples_are_finite_and_locations_about_equally_loud(scene, seed):
    sound = sound_of(scene, seed, seconds=1)
    assert sound.shape == (SAMPLE_RATE,)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    # The level has a standard deviation of 3 dB around 0.06: allow six of them.
    assert 20 * abs(math.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2)) / 0.06)) < 18


def test_parks_are_brighter_than_streets_with_traffic_and_these_than_buses():
    brightness = {
        scene: mean_over_locations(
            scene, lambda sound: band_level(sound, 4000, 8000) - band_level(sound, 100, 400)
        )
        for scene in ("park", "street_traffic", "bus")
    }
    assert brightness["park"] > brightness["street_traffic"] + 6
    assert brightness["street_traffic"] > brightness["bus"] + 3


def test_voices_are_louder_in_a_shopping_mall_than_in_a_bus():
    def formant_over_gap(sound):  # level at 500 Hz relative to the gap below the second formant
        return band_level(sound, 400, 620) - band_level(sound, 850, 1000)

    mall = mean_over_locations("shopping_mall", formant_over_gap)
    bus = mean_over_locations("bus", formant_over_gap)
    assert mall > bus + 1.5


def test_the_spectrum_of_the_noise_has_the_slope_of_the_table():
    # Nothing but noise: no modulation, events, hum or voices.
    quiet = SCENES["park"]._replace(
        tilt=-4.0, bump_db=0.0, hum_db=-math.inf, babble_db=-200.0, steps=0, birds=0, chimes=0,
        squeals=0, swells=0, am_depth=0,
    )  # fmt: skip
    sound = soundscape(np.random.default_rng(0), quiet, np.zeros(256), 16)
    slopes = [
        band_level(sound, 2 * hz, 2.6 * hz) - band_level(sound, hz, 1.3 * hz)
        for hz in (200, 500, 1000, 3000)
    ]
    np.testing.assert_allclose(slopes, -4.0, atol=0.8)


def test_locations_vary_around_their_scene_and_lack_what_the_scene_lacks():
    rng = np.random.default_rng(0)
    parks = [draw_location(rng, SCENES["park"]) for _ in range(400)]
    assert np.mean([park.tilt for park in parks]) == pytest.approx(-2.4, abs=0.03)
    assert np.median([park.birds for park in parks]) == pytest.approx(1.6, rel=0.05)
    assert np.std([park.tilt for park in parks]) > 0.1
    assert all(park.chimes == 0 and park.hum_db == -math.inf for park in parks)


# --- devices --------------------------------------------------------------------------------------


def response(name, low, high):
    """Gain in dB of a device for white noise between two frequencies."""
    rng = np.random.default_rng(7)
    sound = (0.06 * rng.standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    device = draw_device(np.random.default_rng(3), name)
    return band_level(record(rng, sound, device), low, high) - band_level(sound, low, high)


def test_device_a_changes_nothing():
    sound = sound_of("tram", 0, seconds=1)
    device = draw_device(np.random.default_rng(0), "a")
    np.testing.assert_array_equal(record(np.random.default_rng(0), sound, device), sound)


@pytest.mark.parametrize("name", ["b", "c", "s1", "s6"])
def test_other_devices_colour_the_sound_and_cut_the_lowest_frequencies(name):
    bands = [response(name, hz, 1.5 * hz) for hz in (300, 700, 1500, 3500, 7000)]
    assert np.ptp(bands) > 1.0
    assert response(name, 20, 30) < response(name, 300, 450) - 5


@pytest.mark.parametrize("name", ["s1", "s4", "s6"])
def test_simulated_devices_cut_the_highest_frequencies_and_real_ones_do_not(name):
    assert response(name, 19_000, 22_000) < response(name, 3000, 7000) - 10
    assert response("b", 19_000, 22_000) > response("b", 3000, 7000) - 10


def test_drive_distorts_peaks():
    sound = np.float32(0.5) * np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    device = draw_device(np.random.default_rng(0), "s1")._replace(colour=np.zeros(256), drive=1.5)
    rng = np.random.default_rng(0)
    driven = record(rng, sound.astype(np.float32), device)
    clean = record(rng, sound.astype(np.float32), device._replace(drive=None))
    third_harmonic = [band_level(x, 2990, 3010) - band_level(x, 990, 1010) for x in (driven, clean)]
    assert third_harmonic[0] > third_harmonic[1] + 10


def test_an_equaliser_is_smooth_and_has_the_given_spread():
    curves = np.stack([equaliser(np.random.default_rng(seed), 3.0) for seed in range(300)])
    assert curves[:, 0].std() == pytest.approx(3.0, rel=0.15)
    assert np.abs(np.diff(curves, axis=1)).max() < 1.0  # dB per step of a 25th of an octave


# --- options, caching -----------------------------------------------------------------------------


def test_all_wrong_options_are_listed_in_one_error(tmp_path):
    with pytest.raises(ConfigError) as raised:
        make_dataset(
            tmp_path / "data",
            train_locations=0,
            test_locations=1,
            clips_per_location=2.5,  # type: ignore[arg-type]
            seed=-1,
            workers=0,
        )
    assert raised.value.problems == [
        "train_locations: must be a whole number of at least 1, received 0",
        "test_locations: must be a whole number of at least 2, received 1",
        "clips_per_location: must be a whole number of at least 1, received 2.5",
        "seed: must be a whole number from 0 to 4294967295, received -1",
        "workers: must be a whole number of at least 1, received 0",
    ]
    assert not (tmp_path / "data").exists()


def test_a_folder_with_files_is_an_error_and_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"must be an empty or a new folder"):
        make_dataset(tmp_path, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


TINY = {"train_locations": 1, "test_locations": 2, "clips_per_location": 1}


def test_the_cache_makes_a_data_set_once_and_logs_it(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "focusnet")
    root = ensure_dataset(tmp_path, **TINY)
    assert caplog.messages == [f"Making the synthetic data set (30 clips) in {root}"]
    before = (root / "meta.csv").stat().st_mtime_ns
    monkeypatch.setattr(synthetic, "make_dataset", None)  # calling it again would fail
    assert ensure_dataset(tmp_path, **TINY) == root
    assert (root / "meta.csv").stat().st_mtime_ns == before
    assert len(caplog.messages) == 1


def test_each_set_of_options_and_each_version_has_its_own_folder(tmp_path, monkeypatch):
    made: list[Path] = []

    def record_root(root, **options):
        made.append(root)
        (root / "meta.csv").touch()

    monkeypatch.setattr(synthetic, "make_dataset", record_root)
    roots = {ensure_dataset(tmp_path, **TINY)}
    for change in ({"seed": 1}, {"train_locations": 2}, {"test_locations": 3}):
        roots.add(ensure_dataset(tmp_path, **{**TINY, **change}))
    roots.add(ensure_dataset(tmp_path, **{**TINY, "clips_per_location": 2}))
    monkeypatch.setattr(synthetic, "GENERATOR_VERSION", synthetic.GENERATOR_VERSION + 1)
    roots.add(ensure_dataset(tmp_path, **TINY))
    assert len(roots) == len(made) == 6


def test_a_second_caller_waits_for_the_first(tmp_path, caplog):
    caplog.set_level(logging.INFO, "focusnet")
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ensure_dataset, tmp_path, **TINY) for _ in range(2)]
        roots = {future.result() for future in asked}
    assert len(roots) == 1
    assert len(caplog.messages) == 1


def test_an_interruption_leaves_no_partial_data_set(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "_write_tables", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_dataset(tmp_path, **TINY)
    left = [path for path in (tmp_path / "synthetic").iterdir() if path.is_dir()]
    assert left == []


def test_a_cache_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "synthetic").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"synthetic data set cannot be made"):
        ensure_dataset(tmp_path, **TINY)
