"""Compares all arms: accuracy of FocusNet, its template and its controls over their seeds."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.figures.confirmation import draw_arms, draw_best_of
from analysis.inference.best_of import expected_best
from analysis.inference.confirmation import REPORT, half_of, training_of
from analysis.read_study import Stratum, Study
from analysis.render.document import Block, Figure, Section, Table, interval, percent, points
from analysis.sections.answer.verdicts import settings_of
from analysis.tables.predictions import TEMPLATE, teacher_label
from focusnet.arms import FOCUSNET, STUDENT_ONLY, label_of

_METRIC = "{}/{}/macro_accuracy"
COLUMNS = ["stratum", "arm", "label", "settings", "searched", "seeds", "mean", "sd", "effect",
           "low", "high"]  # fmt: skip


def arms_section(study: Study) -> Section | None:
    """Mean accuracy of each arm and its spread over seeds; None for a study without other arms."""
    table = arms_table(study)
    if set(table["arm"]) <= {TEMPLATE, FOCUSNET} and not study.plan.looks:
        return None
    rows = [
        (
            one["stratum"],
            one["label"],
            one["settings"],
            percent(one["searched"]),
            str(one["seeds"]),
            percent(one["mean"]),
            percent(one["sd"]),
            points(one["effect"]),
            interval(one["low"], one["high"]),
        )
        for _, one in table.iterrows()
    ]
    header = ("stratum", "arm", "settings", "search seed %", "fresh seeds", "mean %", "sd",
              "FocusNet minus arm", "95 % new locations")  # fmt: skip
    blocks: list[Block] = [
        "Macro accuracies. Search seed: on report, the best trial on select and the controls "
        "trained with its template, as a mean over their seeds if there are several. Fresh seeds: "
        "on the half that each training is judged on; mean over halves, standard deviation over "
        "seeds within a half, and FocusNet's mean difference from the arm of the same seed in "
        "points. These intervals are by stratum and not corrected for their number; the verdicts "
        "are in the answer.",
        Table(header, rows, words=frozenset({"stratum", "arm", "settings"})),
        *_arms_figures(study),
        *_best_of_figures(study),
    ]
    return Section("Arms", blocks)


def arms_table(study: Study) -> pd.DataFrame:
    """One row per stratum and arm; accuracies and differences are fractions.

    Columns: ``stratum``, ``arm``, ``label``, ``settings`` (where they are from), ``searched``
    (accuracy with the search's seed), and for the fresh seeds ``seeds`` (their number), ``mean``,
    ``sd``, ``effect`` (of FocusNet against the arm), ``low`` and ``high``.
    """
    rows = [row for stratum in study.strata for row in _stratum_rows(study, stratum)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _stratum_rows(study: Study, stratum: Stratum) -> list[dict[str, object]]:
    rows = []
    for arm, by_half in confirmed_accuracies(stratum, _arms(study, stratum)).items():
        rows.append(
            {
                "stratum": stratum.label,
                "arm": arm,
                "label": teacher_label(arm),
                "settings": settings_of(study, arm),
                "searched": _searched(stratum, arm),
                "seeds": sum(len(values) for values in by_half.values()),
                "mean": mean_over_halves(by_half),
                "sd": sd_within_halves(by_half),
            }
            | _effect_of(study, stratum, arm)
        )
    return rows


def _effect_of(study: Study, stratum: Stratum, arm: str) -> dict[str, float]:
    """FocusNet against one arm: ``effect``, ``low``, ``high``; NaN where it cannot be judged."""
    compared = study.claims.comparisons.get(arm)
    effect = None if compared is None else compared.by_stratum.get(stratum.value)
    if effect is None:
        return dict.fromkeys(("effect", "low", "high"), math.nan)
    low, high = effect.interval()
    found = (effect.estimate, low, high)
    return dict(zip(("effect", "low", "high"), (float(one[0]) / 100 for one in found), strict=True))


def _arms(study: Study, stratum: Stratum) -> list[str]:
    """Template, FocusNet, and every control that was planned or has trials."""
    found = [*stratum.controls["arm"], *stratum.confirmation.trials["arm"]]
    asked = study.control_arms if study.plan.looks or len(stratum.controls) else ()
    teachers = [arm for arm in (*asked, *found) if arm not in STUDENT_ONLY]
    return list(dict.fromkeys([TEMPLATE, FOCUSNET, *teachers]))


def confirmed_accuracies(stratum: Stratum, arms: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Macro accuracies of each arm with the fresh seeds by the half judged on, as fractions."""
    trials = stratum.confirmation.trials
    found: dict[str, dict[str, np.ndarray]] = {}
    for arm in arms:
        owner, stage = training_of(arm)
        done = trials[(trials["status"] == "finished") & (trials["arm"] == owner)]
        halves = np.array([half_of(trial) for _, trial in done.iterrows()], dtype=object)
        found[arm] = {}
        for half in (REPORT, "select"):
            name = _METRIC.format(stage, half)
            if name in done and (halves == half).any():
                found[arm][half] = done[name].to_numpy(float)[halves == half]
    return found


def mean_over_halves(by_half: dict[str, np.ndarray]) -> float:
    """Mean over halves of the mean over seeds; NaN without any."""
    means = [values.mean() for values in by_half.values() if len(values)]
    return float(np.mean(means)) if means else math.nan


def sd_within_halves(by_half: dict[str, np.ndarray]) -> float:
    """Standard deviation over seeds within a half, pooled; NaN without two seeds in one."""
    squares = sum(((values - values.mean()) ** 2).sum() for values in by_half.values())
    df = sum(max(len(values) - 1, 0) for values in by_half.values())
    return float(np.sqrt(squares / df)) if df else math.nan


def _searched(stratum: Stratum, arm: str) -> float:
    """Accuracy with the search's seed: the winner's, its template's, or a control's mean."""
    if arm in (TEMPLATE, FOCUSNET):
        trials = pd.DataFrame() if stratum.winner is None else stratum.winner.to_frame().T
    else:
        controls = stratum.controls
        trials = controls[(controls["status"] == "finished") & (controls["arm"] == arm)]
    name = _METRIC.format(TEMPLATE if arm == TEMPLATE else "focus", REPORT)
    if name not in trials or trials[name].dropna().empty:
        return math.nan
    return float(trials[name].astype(float).mean())


def _arms_figures(study: Study) -> list[Figure]:
    """The accuracy of every training with a fresh seed; nothing if there is none."""
    accuracies = {}
    for stratum in study.strata:
        of_arms = confirmed_accuracies(stratum, _arms(study, stratum))
        named = {teacher_label(arm): by_half for arm, by_half in of_arms.items() if by_half}
        if named:
            accuracies[stratum.label] = named
    if not accuracies:
        return []
    return [
        Figure(
            "arms.png",
            "Macro accuracy of every training with a fresh seed (filled: judged on report; open: "
            "on select) and each arm's mean (bar). Look for single trainings that collapsed: with "
            "them, intervals and p-values are too small.",
            "Strip plots of accuracies by arm, one for each stratum.",
            draw_arms(accuracies),
        )
    ]


def best_of_curves(study: Study) -> dict[str, dict[str, np.ndarray]]:
    """Expected accuracy on report of the best of n trials on select, by stratum and arm."""
    chosen, scored = study.metric, study.metric.replace("/select/", "/report/")
    curves: dict[str, dict[str, np.ndarray]] = {}
    for stratum in study.strata:
        for arm, trials in stratum.searches.items():
            if not {chosen, scored} <= set(trials.columns):
                continue
            done = trials[trials["status"] == "finished"].dropna(subset=[chosen, scored])
            if len(done) > 1:
                values = (done[one].to_numpy(float) for one in (chosen, scored))
                curves.setdefault(stratum.label, {})[label_of(arm)] = expected_best(*values)
    return curves


def _best_of_figures(study: Study) -> list[Figure]:
    curves = best_of_curves(study)
    if not curves or not study.metric.endswith("macro_accuracy"):
        return []
    templates = {}
    name = _METRIC.format(TEMPLATE, REPORT)
    for stratum in study.strata:
        trials = stratum.trials[stratum.trials["status"] == "finished"]
        templates[stratum.label] = float(trials[name].mean()) if name in trials else math.nan
    adaptive = (
        ""
        if study.plan.search_is_fixed
        else " This search is adaptive, so that its later trials are not like its first ones; the "
        "curve treats them alike."
    )
    return [
        Figure(
            "best_of.png",
            "Expected macro accuracy on report of the best of n of the search's trials, chosen on "
            "select, by arm: compare arms at the same number of trials. Arms without a line have "
            f"FocusNet's settings.{adaptive}",
            "Line plots of accuracy against the number of trials tried, one for each stratum.",
            draw_best_of(curves, templates),
        )
    ]
