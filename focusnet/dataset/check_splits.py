"""Checks the splits of a data set: leaks between training and test, and the subset lists."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from focusnet.dataset.check_report import CheckReport, count_problem
from focusnet.dataset.layout import SETUP, Dataset
from focusnet.dataset.splits import split_by_location
from focusnet.dataset.subsets import training_subset
from focusnet.errors import DataError


class SubsetCounts(NamedTuple):
    """What the list of a training subset names; ``share`` is in percent of the training clips."""

    percent: int
    clips: int
    share: float
    recordings: int
    locations: int


def check_splits(dataset: Dataset, report: CheckReport) -> list[SubsetCounts]:
    """Add to ``report`` what is wrong with the splits; return the counts of each subset list."""
    report.errors += shared_recordings(dataset)
    report.warnings += shared_locations(dataset)
    try:
        split_by_location(dataset)
    except DataError as error:
        report.errors += error.problems
    return _check_subsets(dataset, report)


def shared_recordings(dataset: Dataset) -> list[str]:
    """Problem of recordings in both splits: their clips are near copies of each other."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    shared = sorted(set(train["recording"]) & set(test["recording"]))
    clips = int(test["recording"].isin(shared).sum())
    return [
        f"{problem}, with {clips:,} of {len(test):,} test clips"
        for problem in count_problem("leak: recordings in training and in test", shared)
    ]


def shared_locations(dataset: Dataset) -> list[str]:
    """Problems of locations in both splits, with the same scene and with different ones."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    train_places, test_places = (
        list(zip(clips["scene"], clips["location"], strict=True)) for clips in (train, test)
    )
    same_scene = set(train_places) & set(test_places)
    clips = sum(place in same_scene for place in test_places)
    others = set(train["location"]) & set(test["location"])
    others -= {location for _, location in same_scene}
    return [
        *(
            f"{problem}, with {clips:,} of {len(test):,} test clips"
            for problem in count_problem(
                "leak: locations with one scene in training and in test",
                (f"{scene} at {location}" for scene, location in sorted(same_scene)),
            )
        ),
        *count_problem("locations with different scenes in training and in test", sorted(others)),
    ]


def _check_subsets(dataset: Dataset, report: CheckReport) -> list[SubsetCounts]:
    """Check that each ``split{N}.csv`` has whole recordings and its size, and that they nest."""
    counts: list[SubsetCounts] = []
    smaller: tuple[int, np.ndarray] | None = None
    recordings = dataset.clips["recording"]
    for percent in _listed_percents(dataset.root / SETUP):
        name = f"{SETUP}/split{percent}.csv"
        try:
            subset = training_subset(dataset, percent, 0)
        except DataError as error:
            report.errors += error.problems
            continue
        share = 100 * len(subset) / len(dataset.train)
        inside = recordings.iloc[subset]
        outside = recordings.iloc[np.setdiff1d(dataset.train, subset)]
        report.warnings += count_problem(
            f"{name}: recordings of which it has only some clips",
            sorted(set(inside) & set(outside)),
        )
        # One recording of each scene can be more than a small share of a small data set.
        smallest_step = 100 * len(dataset.classes) * inside.value_counts().max()
        smallest_step /= len(dataset.train)
        if abs(share - percent) > max(1.0, percent / 20, smallest_step):
            report.warnings.append(f"{name}: holds {share:.1f} % of the training clips")
        if smaller is not None:
            missing = len(np.setdiff1d(smaller[1], subset))
            if missing:
                report.warnings.append(
                    f"{name}: not nested, clips of split{smaller[0]}.csv that it lacks: {missing:,}"
                )
        smaller = percent, subset
        locations = dataset.clips["location"].iloc[subset].nunique()
        counts.append(SubsetCounts(percent, len(subset), share, inside.nunique(), locations))
    return counts


def _listed_percents(folder: Path) -> list[int]:
    names = [path.stem.removeprefix("split") for path in folder.glob("split*.csv")]
    return sorted(int(name) for name in names if name.isdigit() and 0 < int(name) <= 100)
