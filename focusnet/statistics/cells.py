"""Turns a trial's predictions into accuracies by test location, which the statistics take."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LOGIT = "logit/"
HALVES = ("report", "select")  # number 0 and 1: seeds 0, 2, ... are judged on report


@dataclass(frozen=True)
class Locations:
    """The test locations of both halves, in a fixed order.

    Attributes:
        index: (half, scene, location) of each.
        scene, half, clips: (locations,) as ``pooled.pooled_effect`` takes them.
    """

    index: pd.MultiIndex
    scene: NDArray[np.int64]
    half: NDArray[np.int64]
    clips: NDArray[np.int64]


def locations_of(predictions: pd.DataFrame) -> Locations:
    """The test locations in ``predictions/<trial>.parquet``."""
    one_stage = predictions[predictions["stage"] == predictions["stage"].iloc[0]]
    sizes = one_stage.groupby(["half", "scene", "location"], observed=True).size()
    index = sizes.index
    scenes = pd.factorize(index.get_level_values("scene"), sort=True)[0]
    half = np.array([HALVES.index(name) for name in index.get_level_values("half")])
    return Locations(index, scenes.astype(np.int64), half, sizes.to_numpy(np.int64))


def location_accuracies(
    predictions: pd.DataFrame, stage: str, locations: Locations
) -> NDArray[np.float64]:
    """(locations,) accuracy of one training in points.

    Args:
        stage: ``template`` or ``focus``.

    Raises:
        ValueError: the predictions are of other clips than ``locations``.
    """
    own = predictions[predictions["stage"] == stage]
    scenes = np.array([n.removeprefix(LOGIT) for n in own.columns if n.startswith(LOGIT)])
    logits = own[[n for n in own.columns if n.startswith(LOGIT)]].to_numpy()
    right = scenes[logits.argmax(axis=1)] == own["scene"].astype(str).to_numpy()
    keys = [own[name] for name in ("half", "scene", "location")]
    counts = pd.Series(right).groupby([key.to_numpy() for key in keys], observed=True)
    table = pd.DataFrame({"right": counts.sum(), "clips": counts.size()})
    table = table.reindex(locations.index)
    if not np.array_equal(table["clips"].to_numpy(), locations.clips):
        raise ValueError(f"the predictions of stage {stage} are of other clips")
    return 100 * table["right"].to_numpy(np.float64) / locations.clips
