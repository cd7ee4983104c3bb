"""What a study may claim: the effect of one arm against another in each stratum.

The table is made from predictions of several seeds, such as confirmation trials leave
(confirmation.py reads them). A study with one seed has nothing to feed it: its report gives
intervals over locations (effects.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inference.locations import LEVEL, RESAMPLES
from analysis.inference.seeds import (
    Design,
    bootstrap_effects,
    claims,
    detectable_effect,
    holm,
    interval,
    randomisation_p,
    variance_components,
)
from analysis.tables.predictions import LOGIT, PredictionsError

TEMPLATE = "template"  # as an arm to compare with: each trial's own template
FEWEST_SEEDS = 2
VERDICTS = {1: "gain", 0: "no evidence", -1: "loss"}
UNTESTED = "not tested"  # too few seeds
FINAL_STAGE = "focus"
_CLIP = ["filename", "scene", "location"]


@dataclass(frozen=True)
class PairedCounts:
    """Right clips of two arms on the same clips, from the seeds that both have."""

    seeds: tuple[int, ...]
    design: Design
    right: NDArray[np.int64]  # (seeds, locations)
    right_against: NDArray[np.int64]


def effect_table(
    predictions: pd.DataFrame,
    comparisons: Sequence[tuple[str, str]] = (("focusnet", TEMPLATE),),
    *,
    stratum: str | None = None,
    half: str = "report",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Effect, interval, p-value and verdict of each comparison in each stratum.

    Args:
        predictions: the rows of ``predictions/*.parquet`` (``filename``, ``stage``, ``half``,
            ``scene``, ``location``, ``logit/<scene>`` ...) of all trials, with the columns
            ``seed`` and ``arm``, and the one that ``stratum`` names. One trial for each arm, seed
            and stratum.
        comparisons: pairs (arm, against). ``template`` as the second is the arm's own template;
            any other arm is compared by its second training.
        stratum: column of the strata; each comparison's p-values are corrected over them.
        half: ``report``, unless something was to be learnt from ``select``.
        level: of the intervals; claims are made at 1 - ``level``.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Returns:
        A row a comparison and stratum: ``stratum``, ``arm``, ``against``, ``seeds``,
        ``locations``, ``lone_locations`` (scenes with one: their noise cannot be seen),
        ``accuracy``, ``accuracy_against``, ``effect``, ``standard_error``, ``low``, ``high``,
        ``p``, ``p_holm``, ``detectable`` (at 80 % power, at the correction's first step) and
        ``verdict``: gain, no evidence, loss, or not tested where the arms share fewer than two
        seeds. Accuracies and effects are fractions.

    Raises:
        PredictionsError: a column is missing, a trial is there twice, or clips differ.
    """
    needed = {"seed", "arm", "stage", "half", *_CLIP, *([stratum] if stratum else [])}
    lacking = sorted(needed - set(predictions.columns))
    if lacking or not any(name.startswith(LOGIT) for name in predictions.columns):
        raise PredictionsError(f"no column {', '.join(lacking) or LOGIT + '...'}")
    judged = _judge(predictions[predictions["half"] == half])
    values = [None] if stratum is None else sorted(judged[stratum].unique())
    tables = [
        family_table(
            [
                (value, paired_counts(_of_stratum(judged, stratum, value), *comparison))
                for value in values
            ],
            comparison,
            level=level,
            resamples=resamples,
            seed=seed,
        )
        for comparison in comparisons
    ]
    return pd.concat(tables, ignore_index=True)


def _judge(predictions: pd.DataFrame) -> pd.DataFrame:
    """Without the logits, but whether the clip is right (0 or 1)."""
    logits = [name for name in predictions.columns if name.startswith(LOGIT)]
    scenes = np.array([name.removeprefix(LOGIT) for name in logits])
    best = scenes[predictions[logits].to_numpy().argmax(axis=1)]
    right = (best == predictions["scene"].astype(str).to_numpy()).astype(np.int64)
    return predictions.drop(columns=logits).assign(right=right)


def _of_stratum(judged: pd.DataFrame, stratum: str | None, value: object) -> pd.DataFrame:
    return judged if stratum is None else judged[judged[stratum] == value]


def paired_counts(judged: pd.DataFrame, arm: str, against: str) -> PairedCounts | None:
    """Count right clips by seed and location; None if the arms share no seed.

    Args:
        judged: one stratum's rows, with ``right`` (0 or 1) instead of logits.

    Raises:
        PredictionsError: a clip is there twice for a seed, or clips differ between trainings.
    """
    first = judged[(judged["arm"] == arm) & (judged["stage"] == FINAL_STAGE)]
    if against == TEMPLATE:
        second = judged[(judged["arm"] == arm) & (judged["stage"] == TEMPLATE)]
    else:
        second = judged[(judged["arm"] == against) & (judged["stage"] == FINAL_STAGE)]
    seeds = sorted(set(first["seed"]) & set(second["seed"]))
    if not seeds:
        return None
    clips = first.loc[first["seed"] == seeds[0], _CLIP].astype(str).sort_values("filename")
    counts = []
    keys = [clips["scene"], clips["location"]]
    for name, rows in ((arm, first), (against, second)):
        for seed in seeds:
            own = rows[rows["seed"] == seed]
            if own["filename"].duplicated().any():
                raise PredictionsError(f"{name} has a clip of seed {seed} twice")
            own = own.set_index(own["filename"].astype(str))["right"]
            if len(own) != len(clips) or not own.index.isin(clips["filename"]).all():
                raise PredictionsError(
                    f"{name} with seed {seed} was tested on other clips than {arm} with seed "
                    f"{seeds[0]}"
                )
            right = pd.Series(own[clips["filename"]].to_numpy(), index=clips.index)
            counts.append(right.groupby(keys).sum().to_numpy(np.int64))
    sizes = clips.groupby(keys).size()
    scene = pd.factorize(sizes.index.get_level_values(0))[0].astype(np.int64)
    right, right_against = np.split(np.array(counts), 2)
    return PairedCounts(tuple(seeds), Design(scene, sizes.to_numpy(np.int64)), right, right_against)


def family_table(
    strata: Iterable[tuple[object, PairedCounts | None]],
    comparison: tuple[str, str],
    *,
    to_come: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """One comparison in all strata, the family that the correction is over.

    Args:
        strata: each stratum's value and counts (see ``paired_counts``).
        comparison: the arms' names, as the table shall have them.
        to_come: of the strata without counts, how many will have some. The correction counts
            them as tests that found nothing, so that no claim can fall when they are there.
        level, resamples, seed: see ``effect_table``.

    Returns:
        See ``effect_table``.
    """
    strata = list(strata)
    tested = sum(counts is not None and len(counts.seeds) >= FEWEST_SEEDS for _, counts in strata)
    tested += to_come
    alpha = 1 - level
    table = pd.DataFrame(
        [
            {"stratum": value, "arm": comparison[0], "against": comparison[1]}
            | _row(counts, level, resamples, seed, alpha / max(tested, 1))
            for value, counts in strata
        ]
    )
    found = np.append(table["p"].to_numpy(np.float64), np.ones(to_come))
    table["p_holm"] = holm(found)[: len(table)]
    signs = claims(table["low"].to_numpy(), table["high"].to_numpy(), table["p_holm"], alpha)
    table["verdict"] = [
        UNTESTED if np.isnan(p) else VERDICTS[int(sign)]
        for p, sign in zip(table["p"], signs, strict=True)
    ]
    order = list(table.columns)
    order.insert(order.index("p") + 1, order.pop(order.index("p_holm")))
    return table[order]


def _row(
    counts: PairedCounts | None, level: float, resamples: int, seed: int, strictest: float
) -> dict[str, float]:
    unknown = dict.fromkeys(("standard_error", "low", "high", "p", "detectable"), np.nan)
    if counts is None:
        missing = dict.fromkeys(("accuracy", "accuracy_against", "effect"), np.nan)
        return {"seeds": 0, "locations": 0, "lone_locations": 0} | missing | unknown
    design = counts.design
    accuracy = float((counts.right @ design.weights).mean())
    accuracy_against = float((counts.right_against @ design.weights).mean())
    row: dict[str, float] = {
        "seeds": len(counts.seeds),
        "locations": len(design.clips),
        "lone_locations": int((design.locations_of_scene == 1).sum()),
        "accuracy": accuracy,
        "accuracy_against": accuracy_against,
        "effect": accuracy - accuracy_against,
    }
    if len(counts.seeds) < FEWEST_SEEDS:
        return row | unknown
    differences = counts.right - counts.right_against
    components = variance_components(differences, design)
    resampled = bootstrap_effects(
        differences, design, resamples=resamples, generator=np.random.default_rng(seed)
    )
    low, high = interval(components, resampled, level)
    return row | {
        "standard_error": float(components.standard_error),
        "low": float(low),
        "high": float(high),
        "p": float(randomisation_p(components, generator=np.random.default_rng(seed))),
        "detectable": float(detectable_effect(components, alpha=strictest)),
    }
