"""Lists what a study lacks: trials that did not finish, files that are missing or unreadable."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.read_study import Stratum, Study
from analysis.render.document import Bullets, Section, counted

STATUSES = {
    "stopped": "stopped early by the scheduler",
    "failed": "failed",
    "running": "running",
    "pending": "waiting",
}


def missing_section(study: Study) -> Section | None:
    """What is missing and why; None if nothing is."""
    items: list[str] = []
    runs = study.provenance.get("runs", [])
    if not runs:
        items.append("provenance.json is missing: versions, data and hardware are unknown.")
    elif runs[-1].get("outcome") != "done":
        items.append(_unfinished_run(runs[-1]))
    for stratum in study.strata:
        items += _missing_trials(study, stratum)
        items += _missing_follow_ups(study, stratum)
        if stratum.problem:
            items.append(
                f"{stratum.label}: no interval, confusions or devices, because {stratum.problem}."
            )
        items += [
            f"{stratum.label}: a confirmation trial is not used, because {problem}."
            for problem in stratum.confirmation.problems
        ]
    failed = study.trials[study.trials["status"] == "failed"]
    items += [f"failed: {one['trial']}: {_error(one)}" for _, one in failed.iterrows()]
    return Section("What is missing", [Bullets(items)]) if items else None


def _missing_trials(study: Study, stratum: Stratum) -> Iterable[str]:
    if not stratum.finished:
        yield f"{stratum.label}: no finished trial yet."
    asked = study.trials_asked(stratum.value)
    if parts := _unfinished(stratum.trials, asked):
        yield f"{stratum.label}: of {asked} trials: {parts}."


def _missing_follow_ups(study: Study, stratum: Stratum) -> Iterable[str]:
    """Trials of the controls and the confirmation that did not finish or are no longer used."""
    names = {"controls": ("control", stratum.controls),
             "confirm": ("confirmation", stratum.confirmation.trials)}  # fmt: skip
    every = study.of_stratum(stratum.value)
    for phase, (name, trials) in names.items():
        asked = sum(study.arms_asked(phase, stratum.value).values())
        if parts := _unfinished(trials, asked):
            yield f"{stratum.label}: of {asked} {name} trials: {parts}."
        former = every[(every["phase"] == phase) & ~every["trial"].isin(trials["trial"])]
        if "tuning" in former:
            former = former[former["tuning"] != True]  # noqa: E712 (of an arm's own search)
        if len(former):
            yield (
                f"{stratum.label}: {counted(len(former), f'{name} trial')} of an earlier winner "
                "not used."
            )


def _unfinished(trials: pd.DataFrame, asked: int) -> str:
    """Count the trials that did not finish by status, such as "1 failed, 2 not started"."""
    counts = trials["status"].value_counts()
    parts = [f"{counts[status]} {text}" for status, text in STATUSES.items() if status in counts]
    if (not_started := asked - len(trials)) > 0:
        parts.append(f"{not_started} not started")
    return ", ".join(parts)


def _unfinished_run(run: Mapping[str, Any]) -> str:
    outcome = run.get("outcome")
    if outcome is None:
        return (
            f"The study has been running since {run.get('started')}, or was killed: this report "
            "shows its state so far."
        )
    command = list(run.get("command", []))
    if "--resume" not in command:
        command.append("--resume")
    how = {"interrupted": "was interrupted", "failed": "ended with an error"}
    return f"The study {how.get(outcome, outcome)}; continue with: {shlex.join(command)}"


def _error(trial: pd.Series) -> str:
    error = trial["error"]
    return "no error recorded" if pd.isna(error) else str(error)
