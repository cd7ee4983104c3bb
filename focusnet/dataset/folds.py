"""Splits the training clips by location into folds for out-of-fold template logits.

Clips of one location resemble each other: with folds by clip, a template would have been trained at
the locations of the clips it predicts. The folds depend on the seed and on the names of the
locations, not on the order of the rows. scikit-learn's StratifiedGroupKFold guarantees neither
that nor that each scene is in at least two folds.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from focusnet.errors import DataError


def folds_by_location(
    scenes: Sequence[str], locations: Sequence[str], folds: int, seed: int
) -> NDArray[np.int64]:
    """The fold of each clip, (N,) from 0; no fold is empty.

    All clips of a location are in one fold, also where several scenes were recorded there. Folds
    have about the same number of clips of each scene; a scene with fewer locations than folds is
    missing in some. No fold has all clips of a scene, so every model that is trained on the other
    folds knows every scene.

    Args:
        scenes, locations: of each clip, (N,).
        folds: the number of folds, at least 2.
        seed: breaks ties between locations of equal size.

    Raises:
        DataError: scenes with too few or only shared locations, or more folds than locations.
    """
    clips = pd.DataFrame({"scene": scenes, "location": locations})
    names = clips.groupby("scene")["location"].unique()
    problems = [
        "focus.template_logits: cross_fitted predicts clips with templates that were trained at "
        f"other locations; scene '{scene}' has {few[0]} only in this subset of the training clips"
        for scene, few in names.items()
        if len(few) < 2
    ]
    if folds > clips["location"].nunique():
        problems.append(
            f"focus.folds: must be at most {clips['location'].nunique()}, the locations in this "
            f"subset of the training clips, received {folds}"
        )
    if problems:
        raise DataError(problems)
    fold_of = _assign(clips, folds, seed)
    fold = clips["location"].map(fold_of)
    lone = [scene for scene, own in fold.groupby(clips["scene"]) if own.nunique() < 2]
    if lone:
        raise DataError(
            f"focus.folds: {folds} folds by location would put all clips of {', '.join(lone)} into "
            "one, because their locations are shared among scenes; give each scene a location of "
            "its own, or use another number of folds"
        )
    return fold.to_numpy(dtype=np.int64)


def _assign(clips: pd.DataFrame, folds: int, seed: int) -> dict[str, int]:
    """The fold of each location: the one where its scenes have the fewest clips so far.

    Locations with several scenes are assigned first, then the largest; the small ones that follow
    even out the differences.
    """
    counts = {
        location: own.value_counts()
        for location, own in clips.groupby("location", sort=True)["scene"]
    }

    def order(location: str) -> tuple[int, int, bytes]:
        draw = hashlib.sha256(f"{seed}:{location}".encode()).digest()
        return -len(counts[location]), -int(counts[location].sum()), draw

    held = {scene: np.zeros(folds, np.int64) for scene in clips["scene"].unique()}
    totals = np.zeros(folds, np.int64)
    fold_of = {}
    for location in sorted(counts, key=order):
        own = counts[location]
        here = np.sum([held[scene] for scene in own.index], axis=0)
        fold = int(np.lexsort((totals, here))[0])  # fewest clips of its scenes, then fewest clips
        for scene, number in own.items():
            held[scene][fold] += number
        totals[fold] += own.sum()
        fold_of[location] = fold
    return fold_of
