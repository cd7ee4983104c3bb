"""Computes which scenes are confused with which, before and after FocusNet."""

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from analysis.tables.predictions import scenes_of

MOST_CONFUSED = 5


def confusion_percent(clips: pd.DataFrame, stage: str) -> NDArray[np.float64]:
    """Confusion matrix in percent of the clips of each true scene (rows); columns: predicted.

    The row of a scene without clips is NaN.
    """
    scenes = scenes_of(clips)
    cells = clips["scene"].cat.codes.to_numpy(np.int64) * len(scenes)
    cells = cells + clips[stage].cat.codes.to_numpy(np.int64)
    counts = np.bincount(cells, minlength=len(scenes) ** 2).reshape(len(scenes), len(scenes))
    with np.errstate(invalid="ignore"):
        return 100 * counts / counts.sum(axis=1, keepdims=True)


def order_by_confusion(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order of scenes that puts those next to each other that are confused with each other.

    Args:
        shares: a confusion matrix in percent, see ``confusion_percent``.
    """
    if len(shares) < 3:
        return np.arange(len(shares))
    known = np.nan_to_num(shares)
    distance = 100 - (known + known.T) / 2
    np.fill_diagonal(distance, 0)
    tree = hierarchy.average(squareform(distance, checks=False))
    return hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, squareform(distance)))


def pair_confusions(clips: pd.DataFrame) -> pd.DataFrame:
    """Confusion of each pair of scenes, in percent, before and after.

    It is the mean of two shares: clips of the first scene predicted as the second, and clips of
    the second predicted as the first.

    Returns:
        One row per pair: ``one``, ``other``, ``template``, ``focus``, and each stage's rank
        (``template_rank``, ``focus_rank``; 1 is the most confused). Pairs with a scene that has
        no clips are left out.
    """
    scenes = scenes_of(clips)
    shares = {stage: confusion_percent(clips, stage) for stage in ("template", "focus")}
    rows = [
        {"one": scenes[i], "other": scenes[j]}
        | {stage: (share[i, j] + share[j, i]) / 2 for stage, share in shares.items()}
        for i, j in itertools.combinations(range(len(scenes)), 2)
    ]
    pairs = pd.DataFrame(rows, columns=["one", "other", *shares]).dropna()
    for stage in shares:
        ranks = pairs[stage].rank(method="first", ascending=False)
        pairs[f"{stage}_rank"] = ranks.astype(int)
    return pairs.reset_index(drop=True)


def most_confused(clips: pd.DataFrame, most: int = MOST_CONFUSED) -> pd.DataFrame:
    """The ``most`` confused pairs of the template and those of FocusNet.

    Sorted by the template's confusion. Pairs that are never confused are left out.
    """
    pairs = pair_confusions(clips)
    chosen = pd.Series(False, index=pairs.index)
    for stage in ("template", "focus"):
        chosen |= (pairs[f"{stage}_rank"] <= most) & (pairs[stage] > 0)
    return pairs[chosen].sort_values("template_rank").reset_index(drop=True)
