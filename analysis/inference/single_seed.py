"""Computes the gain of one FocusNet over its template, with an interval over test locations.

One training of each says nothing about the noise between trainings, so nothing is claimed from it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from focusnet.location_interval import LEVEL, RESAMPLES, macro_accuracy_interval


@dataclass(frozen=True)
class Effect:
    """Macro accuracies before and after, and their difference, all as fractions."""

    before: float
    after: float
    gain: float
    low: float  # ends of the gain's interval
    high: float
    locations: int
    lone_locations: int  # scenes with one location, whose noise between locations is unknown


def macro_gain(
    clips: pd.DataFrame,
    *,
    before: str = "template",
    after: str = "focus",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    generator: np.random.Generator | None = None,
) -> Effect:
    """The gain in macro accuracy on the same clips, with its interval over locations.

    Args:
        clips: see ``predictions.paired_clips``.
        before, after: columns of predicted scenes.
        resamples, level, generator: see ``macro_accuracy_interval``.
    """
    scene = clips["scene"].astype(str)
    table = pd.DataFrame({"scene": scene, "location": clips["location"].astype(str)})
    for name, column in (("before", before), ("after", after)):
        table[name] = (clips[column].astype(str) == scene).astype(int)
    table["gain"] = table["after"] - table["before"]
    per_scene = table.groupby("scene")
    accuracies = np.zeros(2)
    for _, rows in per_scene[["before", "after"]]:
        accuracies += rows.sum().to_numpy() / len(rows) / per_scene.ngroups
    locations = per_scene["location"].nunique()
    _, low, high = macro_accuracy_interval(
        table, "gain", resamples=resamples, level=level, generator=generator
    )
    return Effect(
        before=float(accuracies[0]),
        after=float(accuracies[1]),
        gain=float(accuracies[1] - accuracies[0]),
        low=low,
        high=high,
        locations=int(locations.sum()),
        lone_locations=int((locations == 1).sum()),
    )
