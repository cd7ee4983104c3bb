"""What a study does not have (yet): trials that did not finish, files that are not there."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from analysis.read_study import Stratum, Study
from analysis.render.document import Bullets, Section, counted


def missing(study: Study) -> Section | None:
    """What is not there (yet), and why; None when nothing is missing."""
    items: list[str] = []
    runs = study.provenance.get("runs", [])
    if not runs:
        items.append("provenance.json is missing: versions, data and hardware are unknown.")
    elif runs[-1].get("outcome") != "done":
        items.append(_unfinished_run(runs[-1]))
    for stratum in study.strata:
        items += _missing_trials(study, stratum)
        items += _missing_followers(study, stratum)
        if stratum.problem:
            items.append(
                f"{stratum.label}: no interval, confusions or devices, because {stratum.problem}."
            )
        items += [
            f"{stratum.label}: a confirmation trial is left out, because {problem}."
            for problem in stratum.confirmation.problems
        ]
    failed = study.trials[study.trials["status"] == "failed"]
    items += [f"failed: {one['trial']}: {_error(one)}" for _, one in failed.iterrows()]
    return Section("What is missing", [Bullets(items)]) if items else None


def _missing_trials(study: Study, stratum: Stratum) -> Iterable[str]:
    counts = stratum.trials["status"].value_counts()
    if not counts.get("finished"):
        yield f"{stratum.label}: no finished trial yet."
    open_trials = study.trials_asked - len(stratum.trials)
    words = {
        "stopped": "stopped early by the scheduler",
        "failed": "failed",
        "running": "running",
        "pending": "waiting",
    }
    parts = [f"{counts[status]} {text}" for status, text in words.items() if counts.get(status)]
    if open_trials > 0:
        parts.append(f"{open_trials} not begun")
    if parts:
        yield f"{stratum.label}: of {study.trials_asked} trials: {', '.join(parts)}."


def _missing_followers(study: Study, stratum: Stratum) -> Iterable[str]:
    """Controls and confirmation: trials that are not there, not finished, or of no use any more."""
    names = {"controls": ("controls", stratum.controls),
             "confirm": ("confirmation", stratum.confirmation.trials)}  # fmt: skip
    for phase, (name, trials) in names.items():
        asked = study.arms_asked(phase)
        counts = trials["status"].value_counts()
        words = {"failed": "failed", "running": "running", "pending": "waiting"}
        parts = [f"{counts[status]} {text}" for status, text in words.items() if counts.get(status)]
        if (not_begun := sum(asked.values()) - len(trials)) > 0:
            parts.append(f"{not_begun} not begun")
        if parts:
            yield f"{stratum.label}: of {sum(asked.values())} trials of the {name}: " + (
                f"{', '.join(parts)}."
            )
        every = study.of_stratum(stratum.value)
        former = every[(every["phase"] == phase) & ~every["trial"].isin(trials["trial"])]
        if len(former):
            yield (
                f"{stratum.label}: {counted(len(former), 'trial')} of the {name} not used, because "
                "they belong to a former winner."
            )


def _unfinished_run(run: Mapping[str, Any]) -> str:
    outcome = run.get("outcome")
    if outcome is None:
        return (
            f"The study is running since {run.get('started')} (or was killed): what follows is "
            "its state so far."
        )
    command = list(run.get("command", []))
    if "--resume" not in command:
        command.append("--resume")
    how = {"interrupted": "was interrupted", "failed": "ended with an error"}
    return f"The study {how.get(outcome, outcome)}; go on with: {shlex.join(command)}"


def _error(trial: pd.Series) -> str:
    error = trial["error"]
    return "no error recorded" if pd.isna(error) else str(error)
