"""Do the splits of a data set keep apart what must be apart, and are its subsets what they say?"""

from pathlib import Path

import numpy as np
import pandas as pd

from focusnet.dataset.findings import Findings, named_first
from focusnet.dataset.layout import SETUP, Dataset
from focusnet.dataset.splits import split_by_location
from focusnet.dataset.subsets import training_subset
from focusnet.errors import DataError


def check_lists(dataset: Dataset, findings: Findings) -> pd.DataFrame:
    """Leaks between the splits, halves of the test split, subsets; a row for each subset list."""
    findings.add("error", shared_recordings(dataset))
    findings.add("warning", shared_locations(dataset))
    try:
        split_by_location(dataset)
    except DataError as error:
        findings.add("error", error.problems)
    return _check_subsets(dataset, findings)


def shared_recordings(dataset: Dataset) -> list[str]:
    """The leak of recordings: pieces of one recording in training and test are near copies."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    shared = sorted(set(train["recording"]) & set(test["recording"]))
    if not shared:
        return []
    clips = int(test["recording"].isin(shared).sum())
    return [
        f"leak: {len(shared):,} recordings have clips in training and in test ({clips:,} test "
        f"clips): {named_first(shared)}"
    ]


def shared_locations(dataset: Dataset) -> list[str]:
    """The leak of locations: a scene recorded at the same place on both sides."""
    train, test = (dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test))
    problems = []
    both = set(train["location"]) & set(test["location"])
    leaking = _places(train) & _places(test)
    same = sorted(leaking)
    if same:
        clips = sum(place in leaking for place in zip(test["scene"], test["location"], strict=True))
        places = named_first([f"{scene} at {location}" for scene, location in same])
        problems.append(
            f"leak: {len(same):,} locations have clips of one scene in training and in test "
            f"({clips:,} test clips): {places}"
        )
    others = sorted(both.difference(location for _, location in same))
    if others:
        problems.append(
            f"{len(others):,} locations are in training and in test with different scenes: "
            f"{named_first(others)}"
        )
    return problems


def _places(clips: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(clips["scene"], clips["location"], strict=True))


def _check_subsets(dataset: Dataset, findings: Findings) -> pd.DataFrame:
    """Each ``split{N}.csv``: readable, within training, whole recordings, nested, of its size."""
    rows, smaller = [], None
    recordings = dataset.clips["recording"]
    for percent in _percents(dataset.root / SETUP):
        name = f"{SETUP}/split{percent}.csv"
        try:
            subset = training_subset(dataset, percent, 0)
        except DataError as error:
            findings.add("error", error.problems)
            continue
        share = 100 * len(subset) / len(dataset.train)
        inside = recordings.iloc[subset]
        outside = recordings.iloc[np.setdiff1d(dataset.train, subset)]
        cut = sorted(set(inside) & set(outside))
        if cut:
            findings.add(
                "warning",
                [f"{name}: {len(cut):,} recordings are in it only in part: {named_first(cut)}"],
            )
        # Whole recordings of each scene come no closer to a small share of a small data set.
        grain = 100 * len(dataset.classes) * inside.value_counts().max() / len(dataset.train)
        if abs(share - percent) > max(1.0, percent / 20, grain):
            findings.add("warning", [f"{name}: holds {share:.1f} % of the training clips"])
        if smaller is not None and len(np.setdiff1d(smaller[1], subset)):
            missing = len(np.setdiff1d(smaller[1], subset))
            text = f"{name}: lacks {missing:,} clips that split{smaller[0]}.csv has: not nested"
            findings.add("warning", [text])
        smaller = percent, subset
        rows.append(
            {
                "subset": f"{percent} %",
                "clips": len(subset),
                "share": share,
                "recordings": inside.nunique(),
                "locations": dataset.clips["location"].iloc[subset].nunique(),
            }
        )
    return pd.DataFrame(rows)


def _percents(folder: Path) -> list[int]:
    names = [path.stem.removeprefix("split") for path in folder.glob("split*.csv")]
    return sorted(int(name) for name in names if name.isdigit() and 0 < int(name) <= 100)
