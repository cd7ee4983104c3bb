"""Selects a subset of the training clips, such as 25 %: from an official list, or drawn.

DCASE 2024 publishes subsets of TAU22 as ``evaluation_setup/split{percent}.csv``. Where a data set
has such a file, it is used as it is. Other subsets are drawn with the same properties: nested,
whole recordings (pieces of one recording are near copies), balanced by scene and device.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from focusnet.dataset.layout import SETUP, Dataset, read_clip_list
from focusnet.errors import DataError


def official_list(root: Path, percent: int) -> Path:
    """Where a data set has its official list of the clips of a subset, if it has one."""
    return root / SETUP / f"split{percent}.csv"


def training_subset(dataset: Dataset, percent: int, seed: int) -> np.ndarray:
    """Rows of ``dataset.clips`` (ascending, int64) that make up ``percent`` of the training clips.

    ``seed`` matters for drawn subsets only; those of one seed are nested. 100 percent are all
    training clips unless there is an official ``split100.csv``.

    Raises:
        DataError: the official list is unreadable, or names clips outside the training split or no
            clip of some scene.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent must be above 0 and at most 100, received {percent}")
    official = official_list(dataset.root, percent)
    if official.is_file():
        return _official_subset(dataset, official)
    if percent == 100:
        return dataset.train
    return _drawn_subset(dataset.clips.iloc[dataset.train], percent, seed)


def _official_subset(dataset: Dataset, path: Path) -> np.ndarray:
    rows = read_clip_list(path, dataset.clips)
    problems = []
    outside = np.setdiff1d(rows, dataset.train)
    if len(outside):
        example = dataset.clips["filename"].iloc[outside[0]]
        problems.append(
            f"{path}: clips outside the training split: {len(outside):,}, such as '{example}'"
        )
    absent = sorted(set(dataset.classes).difference(dataset.clips["scene"].iloc[rows]))
    if absent:
        problems.append(f"{path}: has no clip of {', '.join(absent)}")
    if problems:
        raise DataError(problems)
    return rows


def _drawn_subset(training: pd.DataFrame, percent: int, seed: int) -> np.ndarray:
    """The first clips in an order of the recordings that is fixed by the seed: subsets are nested.

    The order is a systematic sample at two levels. Within a scene, the recordings of each device
    are evenly spaced from a random start; the scenes are then interleaved in the same way. So the
    first clips have about the same share of each scene and of each device in it, however many.
    """
    recordings = (
        training.groupby("recording", sort=True)
        .agg(scene=("scene", "first"), device=("device", "first"), clips=("scene", "size"))
        .reset_index()
    )
    recordings["place"] = [_draw(seed, name) for name in recordings["recording"]]
    recordings["stratum"] = recordings["scene"] + "/" + recordings["device"]
    recordings["all"] = "all"
    for stratum, within in (("stratum", "device"), ("scene", "all")):
        recordings = recordings.sort_values("place", kind="stable")
        recordings["place"] = _spread(recordings, stratum, within, seed)
    recordings = recordings.sort_values("place", kind="stable")

    # Even the smallest subset needs every scene: the first recording of each goes to the front.
    follows = recordings["scene"].duplicated().to_numpy()
    recordings = recordings.iloc[np.argsort(follows, kind="stable")]
    clips = recordings["clips"].to_numpy()
    middle = np.cumsum(clips) - clips / 2
    kept = middle < clips.sum() * percent / 100
    kept[: len(follows) - follows.sum()] = True
    chosen = training["recording"].isin(recordings["recording"][kept])
    return training.index.to_numpy()[chosen.to_numpy()].astype(np.int64)


def _spread(recordings: pd.DataFrame, stratum: str, within: str, seed: int) -> pd.Series:
    """Position of each recording in its stratum, from 0 to 1, counted in clips.

    Strata with the same value of ``within`` start at evenly spaced points, so that their first
    recordings are not all early or all late.
    """
    strata = recordings.drop_duplicates(stratum).set_index(stratum)
    draws = pd.Series([_draw(seed, name) for name in strata.index], strata.index)
    groups = draws.groupby(strata[within])
    starts = recordings[stratum].map((groups.rank() - 0.5) / groups.transform("size"))
    clips = recordings["clips"]
    totals = clips.groupby(recordings[stratum])
    return (totals.cumsum() - clips + starts * clips) / totals.transform("sum")


def _draw(seed: int, name: str) -> float:
    """A random number in [0, 1) that depends on the seed and the name only."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
