"""Writes a synthetic data set in the TAU22 layout, so that a study runs without a download.

It is like TAU22 where that matters to a study: scenes are confusable in groups, test locations do
not occur in training, some devices occur in the test split only, and smaller training subsets have
fewer locations. ``focusnet.synthetic.soundscape`` makes the sounds.
"""

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from focusnet.errors import ConfigError, DataError
from focusnet.synthetic.scenes import SCENES, draw_location
from focusnet.synthetic.soundscape import (
    SAMPLE_RATE,
    Device,
    draw_device,
    equaliser,
    record,
    soundscape,
)
from focusnet.system import atomic
from focusnet.system.locks import held

logger = logging.getLogger(__name__)

GENERATOR_VERSION = 1  # raise it whenever the same options give other files

CITIES = ("barcelona", "helsinki", "lyon", "prague")
DEVICES = ("a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6")
TRAINING_DEVICES = DEVICES[:6]
SUBSETS = (5, 10, 25, 50, 100)  # percent of the training locations

# What a random stream is used for; part of its seed.
_CITY, _DEVICE, _LOCATION = range(3)


class Recording(NamedTuple):
    """A recording of one location with one device, cut into clips of 1 s."""

    split: str  # train | test
    scene: str
    place: int  # index of the location within its split and scene
    city: str
    location: int  # unique in the data set
    device: str
    clips: int

    @property
    def identifier(self) -> str:
        """The location as ``meta.csv`` names it."""
        return f"{self.city}-{self.location}"

    @property
    def filenames(self) -> list[str]:
        """Names of the clips, built as TAU builds them."""
        stem = f"audio/{self.scene}-{self.identifier}-0"  # each location has one recording
        return [f"{stem}-{piece}-{self.device}.wav" for piece in range(self.clips)]


def make_dataset(
    root: Path,
    *,
    train_locations: int = 26,
    test_locations: int = 12,
    clips_per_location: int = 4,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Write a data set to ``root``, which must be empty or not exist yet.

    The same options give the same bytes. ``meta.csv`` is written last: a folder without it is not
    complete.

    Args:
        train_locations: training locations of each scene.
        test_locations: test locations of each scene, at least 2, because the test split is split
            into halves by location.
        clips_per_location: clips of 1 s (44.1 kHz, mono, 16 bit) that each location's recording is
            cut into.
        seed: seed of all random numbers.
        workers: number of threads (default: one per CPU).
        progress: whether to log that the data set is made.

    Raises:
        ConfigError: options out of range.
        DataError: ``root`` is not empty.
    """
    _check_options(train_locations, test_locations, clips_per_location, seed, workers)
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root}: must be an empty or a new folder for the data set")
    recordings = list(_plan(train_locations, test_locations, clips_per_location, seed))
    if progress:
        _log_start(recordings, root)
    (root / "audio").mkdir(parents=True, exist_ok=True)
    colours = {city: equaliser(_stream(seed, _CITY, i), 1.0) for i, city in enumerate(CITIES)}
    devices = {name: draw_device(_stream(seed, _DEVICE, i), name) for i, name in enumerate(DEVICES)}
    # Threads are enough: array operations and file writes release Python's global lock.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        make = partial(_make_recording, root, colours=colours, devices=devices, seed=seed)
        for _ in pool.map(make, recordings):
            pass
    _write_tables(root, recordings, train_locations)


def dataset_name(
    train_locations: int, test_locations: int, clips_per_location: int, seed: int
) -> str:
    """Name of the folder, in ``synthetic/`` of the cache, of the data set with these options."""
    return (
        f"v{GENERATOR_VERSION}-train{train_locations}-test{test_locations}"
        f"-clips{clips_per_location}-seed{seed}"
    )


def ensure_dataset(
    cache: Path,
    *,
    train_locations: int = 26,
    test_locations: int = 12,
    clips_per_location: int = 4,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Folder in ``cache`` of the data set with these options; it is made if it does not exist.

    If several processes call this at once, one makes the data set and the others wait. Options and
    errors are those of ``make_dataset``; DataError also if ``cache`` cannot be written.
    """
    _check_options(train_locations, test_locations, clips_per_location, seed, workers)
    key = dataset_name(train_locations, test_locations, clips_per_location, seed)
    root = Path(cache) / "synthetic" / key
    if root.is_dir():
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with held(root.with_name(f"{key}.lock")):
            if not root.is_dir():
                plan = _plan(train_locations, test_locations, clips_per_location, seed)
                _log_start(list(plan), root)
                with atomic.new_folder(root) as part:
                    make_dataset(
                        part,
                        train_locations=train_locations,
                        test_locations=test_locations,
                        clips_per_location=clips_per_location,
                        seed=seed,
                        workers=workers,
                        progress=False,
                    )
    except OSError as error:
        raise DataError(f"{root}: the synthetic data set cannot be made: {error}") from error
    return root


def _check_options(train: int, test: int, clips: int, seed: int, workers: int | None) -> None:
    rules: list[tuple[str, int, int, int | None]] = [
        ("train_locations", train, 1, None),
        ("test_locations", test, 2, None),
        ("clips_per_location", clips, 1, None),
        ("seed", seed, 0, 2**32 - 1),
        ("workers", 1 if workers is None else workers, 1, None),
    ]
    problems = []
    for name, value, low, high in rules:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            limit = f"of at least {low}" if high is None else f"from {low} to {high}"
            problems.append(f"{name}: must be a whole number {limit}, received {value!r}")
    if problems:
        raise ConfigError(problems)


def _log_start(recordings: list[Recording], root: Path) -> None:
    clips = sum(recording.clips for recording in recordings)
    logger.info("Making the synthetic data set (%s clips) in %s", f"{clips:,}", root)


def _stream(seed: int, *indices: int) -> np.random.Generator:
    """A generator for one city, device or location; it depends on the seed and the indices only."""
    return np.random.default_rng([seed, *indices])


def _location_stream(seed: int, split: str, scene: str, place: int) -> np.random.Generator:
    return _stream(
        seed, _LOCATION, ("train", "test").index(split), list(SCENES).index(scene), place
    )


def _plan(train: int, test: int, clips: int, seed: int) -> Iterator[Recording]:
    """All recordings; the training subsets take the locations of each scene in this order."""
    location = 0
    for split, places in (("train", train), ("test", test)):
        for index, scene in enumerate(SCENES):
            for place in range(places):
                if split == "test":
                    device = DEVICES[(index * places + place) % len(DEVICES)]
                elif (
                    index + place
                ) % 2 == 0:  # device a has half of the locations, in each subset too
                    device = "a"
                else:
                    device = TRAINING_DEVICES[1 + (index + place // 2) % 5]
                city = CITIES[_location_stream(seed, split, scene, place).integers(len(CITIES))]
                yield Recording(split, scene, place, city, location, device, clips)
                location += 1


def _make_recording(
    root: Path,
    recording: Recording,
    *,
    colours: dict[str, np.ndarray],
    devices: dict[str, Device],
    seed: int,
) -> None:
    """Write the clips of one recording."""
    rng = _location_stream(seed, recording.split, recording.scene, recording.place)
    rng.integers(len(CITIES))  # skips the city, which _plan has drawn
    location = draw_location(rng, SCENES[recording.scene])
    colour = colours[recording.city] + equaliser(rng, 1.5)
    sound = soundscape(rng, location, colour, recording.clips)
    sound = record(rng, sound, devices[recording.device])
    samples = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    clips = samples.reshape(recording.clips, SAMPLE_RATE)
    for filename, clip in zip(recording.filenames, clips, strict=True):
        soundfile.write(root / filename, clip, SAMPLE_RATE, subtype="PCM_16")


def _write_tables(root: Path, recordings: list[Recording], train_locations: int) -> None:
    """Write the lists of ``evaluation_setup`` and then ``meta.csv``."""
    setup = root / "evaluation_setup"
    labelled = "filename\tscene_label"
    rows: dict[str, list[str]] = {"train": [], "test": []}
    meta = []
    for recording in recordings:
        for name in recording.filenames:
            rows[recording.split].append(f"{name}\t{recording.scene}")
            meta.append(f"{name}\t{recording.scene}\t{recording.identifier}\t{recording.device}")
    _write_table(setup / "fold1_train.csv", labelled, rows["train"])
    _write_table(setup / "fold1_evaluate.csv", labelled, rows["test"])
    _write_table(setup / "fold1_test.csv", "filename", [row.split("\t")[0] for row in rows["test"]])
    for percent in SUBSETS:
        places = max(1, round(train_locations * percent / 100))
        kept = [
            f"{name}\t{recording.scene}"
            for recording in recordings
            if recording.split == "train" and recording.place < places
            for name in recording.filenames
        ]
        _write_table(setup / f"split{percent}.csv", labelled, kept)
    _write_table(root / "meta.csv", "filename\tscene_label\tidentifier\tsource_label", meta)


def _write_table(path: Path, header: str, rows: list[str]) -> None:
    atomic.write_text(path, "\n".join([header, *sorted(rows)]) + "\n")
