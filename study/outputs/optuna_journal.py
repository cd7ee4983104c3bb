"""Writes the ended trials to an Optuna storage for optuna-dashboard, one Optuna study per stratum.

The search never reads it. It is rewritten from the ledger when a study begins or resumes, and each
trial that ends is appended.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.ledger.ledger import ENDED, Trial
from study.search.optuna_trials import frozen_trial, silence
from study.search.past_trial import past_trial
from study.space.objectives import direction
from study.space.space import Space

FILE = "optuna.journal"
# Shown by the dashboard beside the parameters; nothing on the report half.
_SHOWN = ("template/select/macro_accuracy", "gain/select/macro_accuracy", "focus/warm_classes")


class OptunaJournal:
    """The Optuna storage of one study."""

    def __init__(self, folder: Path, space: Space, trials: Iterable[Trial]) -> None:
        silence()
        self._space = space
        path = folder / FILE
        part = folder / f".{FILE}.part"
        for leftover in (part, Path(f"{part}.lock"), Path(f"{path}.lock")):
            leftover.unlink(missing_ok=True)
        self._open(part)
        for trial in trials:
            self.add(trial)
        os.replace(part, path)
        self._open(path)

    def add(self, trial: Trial) -> None:
        """Append an ended trial of the search."""
        if trial.status not in ENDED or not trial.searched:
            return
        attributes: dict[str, object] = {"trial": trial.id, "status": trial.status}
        attributes |= {name: trial.metrics[name] for name in _SHOWN if name in trial.metrics}
        if trial.error:
            attributes["error"] = trial.error
        metrics = self._space.search.metrics
        # Optuna takes curves of a single objective only.
        curve = trial.curve(metrics[0]) if len(metrics) == 1 else {}
        past = replace(past_trial(trial, metrics), curve=curve)
        frozen = frozen_trial(past, self._space.domains, attributes)
        self._studies[trial.stratum].add_trial(frozen)

    def _open(self, path: Path) -> None:
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._studies = {
            stratum: optuna.create_study(
                storage=storage,
                study_name=" ".join([self._space.name, self._space.label(stratum)]).strip(),
                directions=[direction(metric) for metric in self._space.search.metrics],
                load_if_exists=True,
            )
            for stratum in self._space.strata
        }
