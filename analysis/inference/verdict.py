"""Computes the verdicts: gain, loss or no evidence, for each comparison in each stratum.

A verdict needs a p-value, corrected over the strata, and an interval on one side of 0. Both come
from ``several_seeds``: trials of one seed support no verdict.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from analysis.inference.confirmation import BEST_CONTROL, COMPARISONS, Confirmation
from analysis.inference.location_counts import PairedCounts
from analysis.inference.several_seeds import (
    FEWEST_SEEDS,
    Floats,
    bootstrap_effects,
    detectable_effect,
    interval,
    randomisation_p,
    variance_components,
)
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, PLACEBO, label_of
from focusnet.location_interval import LEVEL

ALPHA = 1 - LEVEL
GAIN, NO_EVIDENCE, LOSS = "gain", "no evidence", "loss"
UNTESTED = "not tested"  # too few seeds
_VERDICTS = {1: GAIN, 0: NO_EVIDENCE, -1: LOSS}


def verdicts(confirmations: Iterable[tuple[Any, Confirmation]]) -> pd.DataFrame:
    """Effect, interval, p-value and verdict of FocusNet against each of ``COMPARISONS``.

    Args:
        confirmations: each stratum's value and confirmation. All strata of the study must be
            there, because the correction is over those to come, too.

    Returns:
        See ``verdict_table``: a row per comparison and stratum, in their order, and ``control``,
        the arm behind ``against``.
    """
    confirmations = list(confirmations)
    to_come = sum(one.asked > 0 and not one.is_complete for _, one in confirmations)
    tables = []
    for against in COMPARISONS:
        strata = [(value, one.counts(against)) for value, one in confirmations]
        table = verdict_table(strata, (FOCUSNET, against), to_come=to_come)
        tables.append(table.assign(control=[one.arm_of(against) for _, one in confirmations]))
    return pd.concat(tables, ignore_index=True)


def verdict_table(
    strata: Iterable[tuple[object, PairedCounts | None]],
    comparison: tuple[str, str],
    *,
    to_come: int = 0,
) -> pd.DataFrame:
    """Effect, interval, p-value and verdict of one comparison in each stratum.

    Args:
        strata: each stratum's value and counts; the p-values are corrected over them.
        comparison: names of the arms for the table.
        to_come: how many of the strata without counts will have some. The correction counts them
            as tests that found nothing, so that they cannot overturn a claim made before.

    Returns:
        A row per stratum: ``stratum``, ``arm``, ``against``, ``seeds``, ``locations``,
        ``lone_locations`` (scenes with one, whose noise between locations is unknown),
        ``accuracy``, ``accuracy_against``, ``effect``, ``standard_error``, ``low``, ``high``,
        ``p``, ``p_holm``, ``detectable`` (at 80 % power, at the first step of the correction) and
        ``verdict``: gain, no evidence, loss, or not tested where the arms share fewer than two
        seeds. Accuracies and effects are fractions.
    """
    strata = list(strata)
    tested = sum(counts is not None and len(counts.seeds) >= FEWEST_SEEDS for _, counts in strata)
    strictest = ALPHA / max(tested + to_come, 1)
    table = pd.DataFrame(
        [
            {"stratum": value, "arm": comparison[0], "against": comparison[1]}
            | _effect(counts, strictest)
            for value, counts in strata
        ]
    )
    found = np.append(table["p"].to_numpy(np.float64), np.ones(to_come))
    p_holm = holm(found)[: len(table)]
    signs = claim_signs(table["low"].to_numpy(), table["high"].to_numpy(), p_holm)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", p_holm)
    table["verdict"] = [
        UNTESTED if np.isnan(p) else _VERDICTS[int(sign)]
        for p, sign in zip(table["p"], signs, strict=True)
    ]
    return table


def _effect(counts: PairedCounts | None, alpha: float) -> dict[str, float]:
    """Everything about one stratum; ``alpha`` is the level of the detectable effect."""
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
    low, high = interval(components, bootstrap_effects(differences, design))
    return row | {
        "standard_error": float(components.standard_error),
        "low": float(low),
        "high": float(high),
        "p": float(randomisation_p(components)),
        "detectable": float(detectable_effect(components, alpha=alpha)),
    }


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values of one family (Scandinavian Journal of Statistics 6, 1979).

    Args:
        p: (..., tests). A test that could not be made is NaN; it stays NaN and does not count.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN last
    tests = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    factors = np.maximum(tests - np.arange(p.shape[-1]), 1)
    ordered = np.take_along_axis(p, order, axis=-1) * factors
    adjusted = np.minimum(np.maximum.accumulate(ordered, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, axis=-1)
    return result


def claim_signs(low: Floats, high: Floats, adjusted_p: Floats) -> Floats:
    """1 for a gain, -1 for a loss, 0 for no evidence of either.

    A claim needs both: an adjusted p-value of at most 0.05, and an interval on one side of 0.
    """
    significant = np.asarray(adjusted_p) <= ALPHA
    gain, loss = significant & (low > 0), significant & (high < 0)
    return gain.astype(np.float64) - loss.astype(np.float64)


def title_of(against: str, control: str | None = None) -> str:
    """One of ``COMPARISONS`` for people, with the arm behind the best control."""
    if against == BEST_CONTROL and control is not None:
        return f"{BEST_CONTROL}: {label_of(control)}"
    return {TEMPLATE: "its own template", PLACEBO: "placebo masks"}.get(against, against)
