"""Splits the test set by location into halves: ``select`` for the search, ``report`` for results.

Clips of one location resemble each other, so halves by clip would leak. The halves depend on the
names of the locations only, so they are the same in every study of a data set.
"""

import hashlib

import numpy as np

from focusnet.dataset.layout import TEST, Dataset
from focusnet.errors import DataError

HALVES = ("select", "report")
_ATTEMPTS = 1000


def split_by_location(dataset: Dataset) -> dict[str, np.ndarray]:
    """Rows of the test split (ascending, int64) in the halves ``select`` and ``report``.

    Each half has every scene and about half of each scene's locations. A location is in one half
    only, also where several scenes were recorded there.

    Raises:
        DataError: no split by location gives both halves every scene.
    """
    test = dataset.clips.iloc[dataset.test]
    pairs = test[["scene", "location"]].drop_duplicates()
    scenes_of: dict[str, list[str]] = {}
    for scene, location in zip(pairs["scene"].tolist(), pairs["location"].tolist(), strict=True):
        scenes_of.setdefault(location, []).append(scene)
    locations = {scene: pairs["location"][pairs["scene"] == scene] for scene in dataset.classes}
    few = [
        f"{dataset.root / TEST}: scene '{scene}' has {len(names)} test location"
        f"{'' if len(names) == 1 else 's'}{''.join(f' ({name})' for name in names)}; the test "
        "split is halved by location, so each scene needs at least 2"
        for scene, names in locations.items()
        if len(names) < 2
    ]
    if few:
        raise DataError(few)

    for attempt in range(_ATTEMPTS):
        half_of = _assign(scenes_of, attempt)
        if all(names.map(half_of).nunique() == 2 for names in locations.values()):
            halves = test["location"].map(half_of).to_numpy()
            return {name: dataset.test[halves == half] for half, name in enumerate(HALVES)}
    shared = sorted(location for location, scenes in scenes_of.items() if len(scenes) > 1)
    raise DataError(
        f"{dataset.root / TEST}: no split by location gives both halves every scene, because "
        f"{len(shared)} locations are shared among scenes ({', '.join(shared[:5])}); give each "
        "scene a location of its own"
    )


def _assign(scenes_of: dict[str, list[str]], attempt: int) -> dict[str, int]:
    """Half (0 or 1) of each location: the one where its scenes have fewer locations so far.

    Locations with several scenes are assigned first; those with one then even out the differences.
    """
    draws = {
        location: hashlib.sha256(f"{attempt}:{location}".encode()).digest()
        for location in scenes_of
    }
    counts: dict[str, list[int]] = {}
    totals = [0, 0]
    half_of = {}
    for location in sorted(scenes_of, key=lambda name: (-len(scenes_of[name]), draws[name])):
        mine = [counts.setdefault(scene, [0, 0]) for scene in scenes_of[location]]
        surplus = sum(first - second for first, second in mine)
        if surplus == 0:  # then the half with fewer locations, then the one that the hash draws
            surplus = totals[0] - totals[1]
        half = int(surplus > 0) if surplus else draws[location][-1] % 2
        for count in mine:
            count[half] += 1
        totals[half] += 1
        half_of[location] = half
    return half_of
