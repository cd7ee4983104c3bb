"""Counts right clips by test location, and pairs two arms by seed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inference.several_seeds import Design
from analysis.tables.predictions import FOCUS, STAGES, PredictionsError


@dataclass(frozen=True)
class LocationCounts:
    """Clips of one training by location.

    Attributes:
        filenames: of its clips.
        table: by scene and location, the number of ``clips`` and for each stage the number of
            right ones.
    """

    filenames: frozenset[str]
    table: pd.DataFrame

    @property
    def design(self) -> Design:
        scene = pd.factorize(self.table.index.get_level_values(0))[0].astype(np.int64)
        return Design(scene, self.table["clips"].to_numpy(np.int64))

    def right(self, stage: str) -> NDArray[np.int64]:
        """(locations,) right clips of a stage."""
        return self.table[stage].to_numpy(np.int64)


@dataclass(frozen=True)
class PairedCounts:
    """Right clips of two arms on the same clips, from the seeds that both have."""

    seeds: tuple[int, ...]
    design: Design
    right: NDArray[np.int64]  # (seeds, locations)
    right_against: NDArray[np.int64]


def count_by_location(clips: pd.DataFrame) -> LocationCounts:
    """Count the clips of one training; for ``clips`` see ``predictions.paired_clips``."""
    scene = clips["scene"].astype(str)
    right = {stage: (clips[stage].astype(str) == scene).astype(int) for stage in STAGES}
    groups = pd.DataFrame({"clips": 1, **right}).groupby([scene, clips["location"].astype(str)])
    return LocationCounts(frozenset(clips["filename"].astype(str)), groups.sum())


def pair_by_seed(
    arm: Mapping[int, LocationCounts],
    against: Mapping[int, LocationCounts],
    stage_against: str = FOCUS,
) -> PairedCounts | None:
    """Right clips of two arms, from the seeds that both have; None if they share no seed.

    Args:
        arm: counts by seed; its second training is compared.
        against: counts of the other arm by seed.
        stage_against: which of the other's trainings is compared, ``template`` or ``focus``.

    Raises:
        PredictionsError: the trainings were tested on different clips.
    """
    seeds = tuple(sorted(set(arm) & set(against)))
    if not seeds:
        return None
    for seed in seeds:
        if not arm[seeds[0]].filenames == arm[seed].filenames == against[seed].filenames:
            raise PredictionsError(f"the clips of seed {seed} differ from those of seed {seeds[0]}")
    return PairedCounts(
        seeds,
        arm[seeds[0]].design,
        np.array([arm[seed].right(FOCUS) for seed in seeds]),
        np.array([against[seed].right(stage_against) for seed in seeds]),
    )
