"""Provides a trial's templates: takes them from the store, or trains them and adds them to it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from focusnet.schedule import warmup_linear_down
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.objectives import CrossEntropy
from focusnet.trial.data import Rows
from focusnet.trial.logits import split_logits_frame
from focusnet.trial.stage_training import StageTraining, Trained, predict_split
from focusnet.trial.stages import PasstStages
from focusnet.trial.stored_stages import StageExchange, StoredStage, get_or_build, write_stage
from focusnet.trial.template_key import template_key


@dataclass(frozen=True)
class TemplateRequest:
    """Which template, and what is told while it is trained.

    Args:
        label: what the log calls it, such as 'template' or 'fold 1 of 5'.
        determinants: of its key.
        train: clips that it is trained on.
        predict: clips that it keeps logits of, by split.
        logits_only: it keeps no weights, and is not evaluated on select.
        on_start: called with its key and the epochs of earlier processes.
        on_record: called with its key after each epoch.
        while_waiting: called with its key and the seconds so far while another process trains it.
    """

    label: str
    determinants: Mapping[str, Any]
    train: Rows
    predict: Mapping[str, Rows]
    logits_only: bool
    about: Mapping[str, Any]
    on_start: Callable[[str, list[EpochRecord]], None]
    on_record: Callable[[str, EpochRecord], None]
    while_waiting: Callable[[str, float], None]


@dataclass(frozen=True)
class TemplateProvider:
    """Takes templates from the store, or trains them.

    Args:
        store: folder of the templates.
        user: results folder of the trial.
        exchange: where templates are exchanged with other machines.
    """

    stages: PasstStages
    checkpoints: Checkpoints
    store: Path
    user: Path
    exchange: StageExchange | None = None

    def get(self, request: TemplateRequest, *, wait: bool = True) -> StoredStage:
        """The template that is requested.

        Raises:
            Timeout: another process trains it, and ``wait`` is false.
        """
        key = template_key(request.determinants)
        return get_or_build(
            self.store,
            key,
            lambda folder: self._train(request, key, folder),
            user=self.user,
            about=request.about,
            wait=wait,
            while_waiting=lambda seconds: request.while_waiting(key, seconds),
            exchange=self.exchange,
        )

    def _train(self, request: TemplateRequest, key: str, folder: Path) -> None:
        began = time.monotonic()
        checkpoint, resumed = self.checkpoints.open(request.label, folder, {"template": key})
        request.on_start(key, resumed.records if resumed else [])
        settings = self.stages.trial.template
        trained = StageTraining(
            self.stages,
            "template",
            CrossEntropy(settings.label_smoothing),
            settings,
            lr_factor=warmup_linear_down(**settings.schedule.model_dump()),
            checkpoint=checkpoint,
            resumed=resumed,
            on_record=lambda record: request.on_record(key, record),
            rows=request.train,
            evaluated=not request.logits_only,
            label=request.label,
        ).run()
        logits = self._logits(trained, request.predict)
        write_stage(
            folder,
            weights=None if request.logits_only else trained.model.cpu().state_dict(),
            logits=logits,
            epochs=trained.records,
            determinants=request.determinants,
            seconds=time.monotonic() - began + (resumed.seconds if resumed else 0.0),
        )

    def _logits(self, trained: Trained, predict: Mapping[str, Rows]) -> pd.DataFrame:
        """Logits by clip name, with the column ``split``."""
        data = self.stages.data
        names = {split: data.names(rows) for split, rows in predict.items()}
        logits = {
            split: predict_split(self.stages, trained, split, rows)
            for split, rows in predict.items()
        }
        return split_logits_frame(names, logits, self.stages.classes)
