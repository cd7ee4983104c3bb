"""Judges a confirmation: the average effect of FocusNet over its template, at one look.

A pure function of the trials' records and predictions, through ``focusnet.statistics``.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from focusnet.statistics.cells import HALVES, Locations, location_accuracies, locations_of
from focusnet.statistics.pooled import FEWEST_SEEDS, Effect, pooled_effect
from focusnet.statistics.verdict import verdicts
from study.ledger.ledger import Half, Trial
from study.ledger.looks import LookRecord, StratumRecord
from study.search.confirmation import CLOSING, NextLook
from study.search.winners import Winner
from study.space.space import Space

Read = Callable[[str], bytes | None]  # a trial's Parquet file of predictions


@dataclass(frozen=True)
class Trainings:
    """What one stratum's trainings achieve: (1, seeds, locations) in points, and their halves."""

    focus: NDArray[np.float64]
    template: NDArray[np.float64]
    judged_on: NDArray[np.int64]
    seeds: dict[str, list[int]]
    left_out: list[str]  # trials without a result, or of other clips

    def suffice(self, halves: int) -> bool:
        """Whether their noise can be seen, on each of the study's ``halves``."""
        fewest = FEWEST_SEEDS if halves > 1 else FEWEST_SEEDS - 1
        return len(self.judged_on) >= fewest and len(np.unique(self.judged_on)) == halves


def take_look(space: Space, look: NextLook, read: Read) -> LookRecord:
    """The record of ``look``, all of whose trials have ended.

    A training that failed is left out; so is a stratum in which too few are left.
    """
    trainings, locations = collect(look.trials, read)
    halves = 2 if space.cross_fit else 1
    counted = {s: own for s, own in trainings.items() if own.suffice(halves)}
    average, by_stratum = None, {}
    if counted and locations is not None:
        average, strata = pooled_effect(
            [own.focus for own in counted.values()],
            [own.template for own in counted.values()],
            locations.scene,
            locations.half,
            locations.clips,
            [own.judged_on for own in counted.values()],
        )
        by_stratum = dict(zip(counted, strata, strict=True))
    verdict = "undecided"
    if average is not None:
        found = verdicts(average, average.p_value(), look.level, space.confirm_margin)
        verdict = str(found[0])
    record: LookRecord = {
        "look": look.number,
        "of": look.of,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "strata": [
            _stratum_record(stratum, look, trainings[stratum], by_stratum.get(stratum))
            for stratum in look.trials
        ],
        "information": look.information,
        "alpha": look.alpha,
        "level": look.level,
        "margin": space.confirm_margin,
        "estimate": None if average is None else _number(average.estimate),
        "interval": _interval(average, locations=True),
        "interval_here": _interval(average, locations=False),
        "p": None if average is None else _number(average.p_value()),
        "verdict": verdict,  # type: ignore[typeddict-item]
        "follows": _what_follows(space, look, verdict),
    }
    return record


def collect(
    trials: Mapping[Any, Sequence[Trial]], read: Read
) -> tuple[dict[Any, Trainings], Locations | None]:
    """The accuracies of the trials of each stratum, and the test locations that they share."""
    locations: Locations | None = None
    found = {}
    for stratum, own in trials.items():
        focus, template, judged_on, left_out = [], [], [], []
        seeds: dict[str, list[int]] = {}
        for trial in own:
            content = read(trial.id) if trial.status == "finished" else None
            if content is None:
                left_out.append(trial.id)
                continue
            predictions = pd.read_parquet(io.BytesIO(content))
            locations = locations or locations_of(predictions)
            try:
                pair = [location_accuracies(predictions, s, locations) for s in _STAGES]
            except ValueError:
                left_out.append(trial.id)
                continue
            focus.append(pair[0])
            template.append(pair[1])
            half: Half = trial.judged_on or "report"
            judged_on.append(HALVES.index(half))
            seeds.setdefault(half, []).append(trial.seed)
        found[stratum] = Trainings(
            np.array(focus)[None],
            np.array(template)[None],
            np.array(judged_on, dtype=np.int64),
            seeds,
            left_out,
        )
    return found, locations


_STAGES = ("focus", "template")


def _stratum_record(
    stratum: Any, look: NextLook, own: Trainings, effect: Effect | None
) -> StratumRecord:
    return {
        "stratum": stratum,
        "planned": look.seeds[stratum],
        "winners": _names(look.winners[stratum]),
        "seeds": own.seeds,
        "left_out": own.left_out,
        "counted": effect is not None,
        "estimate": None if effect is None else _number(effect.estimate),
    }


def _names(winners: Mapping[Half, Winner]) -> dict[str, str]:
    return {str(half): winner.name for half, winner in winners.items()}


def _what_follows(space: Space, look: NextLook, verdict: str) -> str:
    if not space.looks_planned:
        return "end"
    if verdict == "gain" and space.control_arms:
        return "controls"
    return "end" if verdict in CLOSING or look.number == look.of else "next look"


def _number(value: NDArray[np.float64]) -> float | None:
    one = float(value[0])
    return one if math.isfinite(one) else None


def _interval(effect: Effect | None, *, locations: bool) -> list[float] | None:
    if effect is None:
        return None
    low, high = (_number(end) for end in effect.interval(locations=locations))
    return None if low is None or high is None else [low, high]
