"""Estimates the size of a study's data from its tables and one clip, without decoding audio."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from focusnet.config import TrialConfig
from study.plan.data import distinct_data, sample_rates
from study.space.space import Space

_SYNTHETIC_SCENES = 10
_SYNTHETIC_RATE = 44_100  # Hz


@dataclass(frozen=True)
class DataSize:
    """Clips of each split, scenes and test locations; zeros if the tables do not exist."""

    train: int
    test: int
    scenes: int
    locations: int = 0  # of all scenes in the test split


def largest_data(space: Space) -> DataSize:
    """The largest counts among the study's data sets."""
    sizes = [_size(trial) for trial in distinct_data(space)]
    return DataSize(
        max(one.train for one in sizes),
        max(one.test for one in sizes),
        max(one.scenes for one in sizes),
        max(one.locations for one in sizes),
    )


def data_known(space: Space) -> bool:
    """Whether the tables of every data set exist."""
    return all(_size(trial).test for trial in distinct_data(space))


def decoded_bytes(space: Space, folder: Path, *, begun: bool) -> dict[str, int]:
    """Bytes still to be written to the cache ``folder``: decoded audio, the synthetic data set.

    ``begun``: the study has generated its synthetic data already.
    """
    parts = {"audio": 0}
    seen = set(_decoded(folder))
    for trial in distinct_data(space):
        size, root = _size(trial), trial.data.root
        clips = size.train + size.test
        for rate in sample_rates(trial):
            if (root, rate) in seen:
                continue
            seen.add((root, rate))
            if root != "synthetic":
                parts["audio"] += clips * _clip_bytes(Path(root), rate)
            elif not begun:
                made = clips * 2 * _SYNTHETIC_RATE
                parts["audio"] += made if rate == _SYNTHETIC_RATE else clips * 4 * rate
                parts["synthetic data set"] = made
    return parts


def _size(trial: TrialConfig) -> DataSize:
    if trial.data.root != "synthetic":
        return _size_of_tables(Path(trial.data.root))
    made = trial.data.synthetic
    each = _SYNTHETIC_SCENES * made.clips_per_location
    return DataSize(
        each * made.train_locations,
        each * made.test_locations,
        _SYNTHETIC_SCENES,
        _SYNTHETIC_SCENES * made.test_locations,
    )


@cache
def _size_of_tables(root: Path) -> DataSize:
    rows = [line.split("\t") for line in _lines(root / "meta.csv") if "\t" in line]
    setup = root / "evaluation_setup"
    train, test = (_lines(setup / f"fold1_{split}.csv") for split in ("train", "evaluate"))
    tested = {line.partition("\t")[0] for line in test}
    locations = {tuple(row[1:3]) for row in rows if row[0] in tested}
    return DataSize(len(train), len(test), len({row[1] for row in rows}), len(locations))


def _clip_bytes(root: Path, rate: int) -> int:
    """Bytes of a decoded clip; clips that differ from the first in format are not used."""
    from focusnet.dataset.decoding import common_form, read_headers

    names = _lines(root / "evaluation_setup" / "fold1_train.csv")[:1]
    form, _ = common_form(read_headers([str(root / n.split("\t")[0]) for n in names]), rate)
    return form.clip_bytes


def _decoded(folder: Path) -> Iterator[tuple[str, int]]:
    """Root and sample rate of each data set that the cache holds decoded."""
    for path in folder.glob("waveforms/*/index.json"):
        try:
            index = json.loads(path.read_text())
            yield index["root"], index["sample_rate"]
        except (OSError, ValueError, LookupError):
            continue


def _lines(path: Path) -> list[str]:
    """The lines of a table below its header; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return []
