"""Writes ``trials.parquet``, ``epochs.parquet`` and ``predictions/`` from the ledger.

The driver rewrites the tables whenever a trial starts or ends. They are views of the trials' own
records; the study never reads them back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from focusnet.system.atomic import replacing
from study.ledger.ledger import Ledger, Trial
from study.search.follow_up import winner_of
from study.space.space import Space

_OF_STUDENTS = ("teacher_key", "teacher_reused", "student_key", "student_reused")


def write_tables(ledger: Ledger, space: Space, running: Collection[str]) -> None:
    """Write the study's tables anew.

    ``running`` names the trials that have a worker now. A trial that was started and has no worker
    is pending: it will be resumed.
    """
    trials = [_as_of_now(trial, running) for trial in ledger.trials()]
    table = trials_table(trials, list(space.domains), winner_of(space, trials))
    _write(ledger.folder / "trials.parquet", table)
    _write(ledger.folder / "epochs.parquet", epochs_table(trials))
    for trial in trials:
        if trial.status == "finished":
            _collect_predictions(ledger, trial.id)


def _as_of_now(trial: Trial, running: Collection[str]) -> Trial:
    if trial.status == "pending" and trial.id in running:
        return replace(trial, status="running")
    if trial.status == "running" and trial.id not in running:
        return replace(trial, status="pending")
    return trial


def trials_table(
    trials: Iterable[Trial], parameters: list[str], winner: Mapping[str, str]
) -> pd.DataFrame:
    """One row per trial: name, arm, seed, status, parameters by dotted path, metrics.

    ``winner`` maps controls and confirmation trials to the winner that they belong to.
    """
    rows = []
    metrics: set[str] = set()
    for trial in trials:
        metrics |= set(trial.metrics)
        row = {
            "trial": trial.id,
            "phase": trial.phase,
            "arm": trial.arm,
            "seed": trial.seed,
            "winner": winner.get(trial.id),
            "tuning": trial.tuning,
            "judged_on": trial.judged_on,
            "look": trial.look,
            "status": trial.status,
            "error": trial.error,
            **trial.parameters,
            **trial.metrics,
            "template_key": trial.result.get("template_key"),
            "template_reused": trial.result.get("template_reused"),
            "skipped_clips": len(trial.result["skipped"]) if "skipped" in trial.result else None,
            "attempts": trial.attempts,
            "started": trial.started,
            "ended": trial.ended,
        }
        if "student_key" in trial.result:
            row |= {name: trial.result.get(name) for name in _OF_STUDENTS}
        row |= {f"clips/{split}": n for split, n in trial.result.get("clips", {}).items()}
        rows.append(row)
    first = ["trial", "phase", "arm", "seed", "winner", "judged_on", "look"]
    first += ["status", "error", *parameters]
    last = [
        "tuning",
        "template_key",
        "template_reused",
        "skipped_clips",
        "attempts",
        "started",
        "ended",
    ]
    columns = list(dict.fromkeys([*first, "seconds", *sorted(metrics), *last]))
    table = pd.DataFrame(rows)
    columns += [name for name in table.columns if name not in columns]
    table = table.reindex(columns=columns)
    # Columns with gaps keep their type, so that tables of several studies can be concatenated.
    types = dict.fromkeys(
        ("winner", "judged_on", "error", "template_key", "started", "ended"), "str"
    )
    types |= {
        "tuning": "boolean",
        "template_reused": "boolean",
        "skipped_clips": "Int64",
        "look": "Int64",
    }
    types |= {name: "Int64" for name in table.columns if name.startswith("clips/")}
    for name in _OF_STUDENTS:
        if name in table:
            types[name] = "str" if name.endswith("_key") else "boolean"
    return table.astype(types)


def epochs_table(trials: Iterable[Trial]) -> pd.DataFrame:
    """One row per trial, stage and epoch."""
    rows = [
        {"trial": trial.id, "arm": trial.arm, **record}
        for trial in trials
        for record in trial.epochs
    ]
    table = pd.DataFrame(rows)
    return table if rows else table.reindex(columns=["trial", "arm", "stage", "epoch", "epochs"])


def _collect_predictions(ledger: Ledger, trial: str) -> None:
    own = ledger.trial_folder(trial) / "predictions.parquet"
    if own.is_file():
        folder = ledger.folder / "predictions"
        folder.mkdir(exist_ok=True)
        own.replace(folder / f"{trial}.parquet")


def _write(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as part:
        table.to_parquet(part, index=False)
