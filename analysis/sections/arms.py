"""Compares all arms: accuracy of FocusNet, its template and its controls over their seeds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.figures.confirmation import draw_arms
from analysis.inference.confirmation import BEST_CONTROL, Confirmation
from analysis.inference.verdict import verdict_table
from analysis.read_study import Stratum, Study
from analysis.render.document import Block, Figure, Section, Table, interval, percent, points
from analysis.sections.wording import INTERVAL
from analysis.tables.predictions import TEMPLATE
from focusnet.arms import FOCUSNET, label_of

_REPORT = "{}/report/macro_accuracy"


def arms_section(study: Study) -> Section | None:
    """Mean accuracy on report and its spread over seeds; None for a study without other arms."""
    table = arms_table(study)
    if set(table["arm"]) <= {TEMPLATE, FOCUSNET} and not study.arms_asked("confirm"):
        return None
    rows = [
        (
            one["stratum"],
            one["label"] + (f" ({BEST_CONTROL})" if one["best"] else ""),
            percent(one["searched"]),
            str(one["seeds"]),
            percent(one["mean"]),
            percent(one["sd"]),
            points(one["gain"]),
            points(one["effect"]),
            interval(one["low"], one["high"]),
        )
        for _, one in table.iterrows()
    ]
    header = (
        "stratum",
        "arm",
        "search seed %",
        "fresh seeds",
        "mean %",
        "sd",
        "minus template",
        "FocusNet minus arm",
        INTERVAL,
    )
    blocks: list[Block] = [
        "Macro accuracies on report. Search seed: the winner (the best on select) and the controls "
        "trained with its template, as a mean over their seeds if there are several. Fresh seeds: "
        "mean and standard deviation over seeds, the arm's mean difference from the template of "
        "the same seed, and FocusNet's mean difference from the arm, in points. These intervals "
        "are not corrected for the number of comparisons; the verdicts are in the answer.",
        Table(header, rows, words=frozenset({"stratum", "arm"})),
        *_arms_figures(study),
    ]
    return Section("Arms", blocks)


def arms_table(study: Study) -> pd.DataFrame:
    """One row per stratum and arm; accuracies and differences are fractions.

    Columns: ``stratum``, ``arm``, ``label``, ``best`` (whether it is the best control),
    ``searched`` (accuracy with the search's seed), and for the fresh seeds ``seeds`` (their
    number), ``mean``, ``sd``, ``gain`` (over the template), ``effect`` (of FocusNet against the
    arm), ``low`` and ``high``.
    """
    rows = [row for stratum in study.strata for row in _stratum_rows(study, stratum)]
    columns = ["stratum", "arm", "label", "best", "searched", "seeds", "mean", "sd", "gain",
               "effect", "low", "high"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _stratum_rows(study: Study, stratum: Stratum) -> list[dict[str, object]]:
    confirmation = stratum.confirmation
    best = confirmation.best_control
    rows = []
    for arm, fresh in confirmed_accuracies(stratum, _arms(study, stratum)).items():
        template = _accuracies(confirmation.trials, arm, TEMPLATE)
        gains = fresh - template if arm != TEMPLATE else np.full(len(fresh), math.nan)
        rows.append(
            {
                "stratum": stratum.label,
                "arm": arm,
                "label": label_of(arm),
                "best": arm == best,
                "searched": _searched(stratum, arm),
                "seeds": len(fresh),
                "mean": fresh.mean() if len(fresh) else math.nan,
                "sd": fresh.std(ddof=1) if len(fresh) > 1 else math.nan,
                "gain": gains.mean() if len(gains) else math.nan,
            }
            | _effect_of(confirmation, arm)
        )
    return rows


def _effect_of(confirmation: Confirmation, arm: str) -> dict[str, float]:
    """FocusNet against one arm: ``effect``, ``low``, ``high``; NaN where not tested."""
    counts = None if arm == FOCUSNET else confirmation.counts(arm)
    if counts is None:
        return dict.fromkeys(("effect", "low", "high"), math.nan)
    row = verdict_table([(None, counts)], (FOCUSNET, arm)).iloc[0]
    return {name: float(row[name]) for name in ("effect", "low", "high")}


def _arms(study: Study, stratum: Stratum) -> list[str]:
    """Template, FocusNet, and every control that was planned or has trials."""
    asked = [*study.arms_asked("controls"), *study.arms_asked("confirm")]
    found = [*stratum.controls["arm"], *stratum.confirmation.trials["arm"]]
    return list(dict.fromkeys([TEMPLATE, FOCUSNET, *asked, *found]))


def confirmed_accuracies(stratum: Stratum, arms: Sequence[str]) -> dict[str, np.ndarray]:
    """Macro accuracies on report of each arm with the fresh seeds, as fractions."""
    trials = stratum.confirmation.trials
    return {
        arm: _accuracies(trials, FOCUSNET, TEMPLATE)
        if arm == TEMPLATE
        else _accuracies(trials, arm, "focus")
        for arm in arms
    }


def _accuracies(trials: pd.DataFrame, arm: str, stage: str) -> np.ndarray:
    done = trials[(trials["status"] == "finished") & (trials["arm"] == arm)]
    name = _REPORT.format(stage)
    return done[name].to_numpy(float) if name in done else np.array([])


def _searched(stratum: Stratum, arm: str) -> float:
    """Accuracy with the search's seed: the winner's, its template's, or a control's mean."""
    if arm in (TEMPLATE, FOCUSNET):
        trials = pd.DataFrame() if stratum.winner is None else stratum.winner.to_frame().T
        name = _REPORT.format(TEMPLATE if arm == TEMPLATE else "focus")
    else:
        controls = stratum.controls
        trials = controls[(controls["status"] == "finished") & (controls["arm"] == arm)]
        name = _REPORT.format("focus")
    if name not in trials or trials[name].dropna().empty:
        return math.nan
    return float(trials[name].astype(float).mean())


def _arms_figures(study: Study) -> list[Figure]:
    """The accuracy of every training with a fresh seed; nothing if there is none."""
    accuracies: dict[str, Mapping[str, Sequence[float]]] = {}
    for stratum in study.strata:
        of_arms = confirmed_accuracies(stratum, _arms(study, stratum))
        named = {label_of(arm): list(values) for arm, values in of_arms.items() if len(values)}
        if named:
            accuracies[stratum.label] = named
    if not accuracies:
        return []
    return [
        Figure(
            "arms.png",
            "Macro accuracy on report of every training with a fresh seed (dots) and each arm's "
            "mean (bar). Look for single trainings that collapsed: with them, intervals and "
            "p-values are too small.",
            "Strip plots of accuracies by arm, one for each stratum.",
            draw_arms(accuracies),
        )
    ]
