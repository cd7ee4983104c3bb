"""Provides a trial's teacher: the template, and the second stage that it teaches.

With a student the second stage goes to the store, like the template: trials that differ in
settings of the student only share it. The store keeps its logits, not its weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch

from focusnet.arms import TEMPLATE
from focusnet.store import WEIGHTS
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.second_stage import shuffle_within_classes
from focusnet.trial.cross_fitting import CrossFitting
from focusnet.trial.data import training_folds
from focusnet.trial.logits import align_logits, split_logits_frame
from focusnet.trial.reporter import Reporter
from focusnet.trial.second_stage_training import (
    SecondStageResult,
    SecondStageTraining,
    teacher_determinants,
)
from focusnet.trial.seeds import derive_seed
from focusnet.trial.stages import Logits, PasstStages
from focusnet.trial.stored_stages import Kind, StageExchange, StoredStage, get_or_build, write_stage
from focusnet.trial.template_key import template_determinants, template_key
from focusnet.trial.template_training import TemplateProvider, TemplateRequest


@dataclass(frozen=True)
class Stores:
    """Where stages are kept, by kind, and how they reach machines that share no folder."""

    folders: Mapping[Kind, Path]
    exchanges: Mapping[str, StageExchange]

    @classmethod
    def of_trial(
        cls, cache: Path, out_dir: Path, reuse: bool, exchanges: Mapping[str, StageExchange] | None
    ) -> "Stores":
        """In the cache, or with the trial's results if it shares nothing."""
        kinds: tuple[Kind, ...] = get_args(Kind)
        folders = {kind: cache / f"{kind}s" if reuse else out_dir / kind for kind in kinds}
        return cls(folders, exchanges or {})


class Teacher:
    """The template and the second stage of one seed.

    Args:
        stages: of that seed.
        out_dir: results folder of the trial that needs them.
        about: what a person wants to know of them in the store.
        ensemble_of: None for the trial's own. Otherwise they only teach its student together with
            others: their epochs are not the trial's, and their weights are not kept.
    """

    def __init__(
        self,
        stages: PasstStages,
        checkpoints: Checkpoints,
        reporter: Reporter,
        stores: Stores,
        out_dir: Path,
        about: Mapping[str, Any],
        *,
        ensemble_of: str | None = None,
    ) -> None:
        self.stages = stages
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.stores = stores
        self.out_dir = out_dir
        self.about = about
        self._ensemble_of = ensemble_of
        self.templates = TemplateProvider(
            stages,
            checkpoints,
            stores.folders["template"],
            out_dir,
            stores.exchanges.get("template"),
        )

    def template(self, *, wait: bool = True) -> StoredStage:
        """The template, from the store or trained now.

        Raises:
            Timeout: another process trains it, and ``wait`` is false.
        """
        data = self.stages.data

        def on_start(key: str, records: list[EpochRecord]) -> None:
            if self._ensemble_of is None:
                self.reporter.begin_shared("template", records)
            else:
                self.reporter.wait(f"training the template of {self._ensemble_of}", key, 0.0)

        def on_record(key: str, record: EpochRecord) -> None:
            if self._ensemble_of is None:
                self.reporter.report_and_record(record)
            else:
                at = f"training the template of {self._ensemble_of}"
                self.reporter.wait(at, key, record.seconds)

        request = TemplateRequest(
            label="template",
            determinants=template_determinants(self.stages),
            train=data.train,
            predict=data.splits,
            logits_only=False,
            about=self.about,
            on_start=on_start,
            on_record=on_record,
            while_waiting=lambda key, seconds: self.reporter.wait(
                "waiting for template", key, seconds
            ),
        )
        return self.templates.get(request, wait=wait)

    def training_logits(self, template_logits: pd.DataFrame) -> tuple[Logits, dict[str, float]]:
        """Template logits of the training clips for the second stage, and metrics of them."""
        data, trial = self.stages.data, self.stages.trial
        logits = align_logits(template_logits, data.names(data.train), self.stages.classes)
        metrics: dict[str, float] = {}
        fold_of = training_folds(trial, data)
        if fold_of is not None:
            fitting = CrossFitting(self.stages, fold_of, self.templates, self.reporter, self.about)
            in_fold = logits
            logits, metrics["folds/seconds"] = fitting.logits()
            metrics |= fitting.compare(in_fold, logits)
        if trial.arm == "placebo":
            generator = torch.Generator().manual_seed(derive_seed(trial.seed, "placebo"))
            logits = shuffle_within_classes(logits, data.labels(data.train), generator)
        return logits, metrics

    def second_stage(self, template: StoredStage, training_logits: Logits) -> SecondStageResult:
        """Train the second stage of a trial without a student.

        Its last epoch is recorded, and left to the caller to report.
        """
        return SecondStageTraining(
            self.stages,
            self.checkpoints,
            lambda records: self.reporter.report_missed(
                "focus", template.epochs(), records, hold_last=True
            ),
            lambda record: self.reporter.report_and_record(record, hold=record.is_last),
        ).run(
            template,
            training_logits,
            folder=self.out_dir,
            weights=self.out_dir / WEIGHTS,
            predict=tuple(self.stages.data.halves),
        )

    def stored_second_stage(
        self, template: StoredStage, template_logits: pd.DataFrame, *, wait: bool = True
    ) -> StoredStage:
        """The second stage as a teacher, from the store or trained now.

        Raises:
            Timeout: another process trains it, and ``wait`` is false.
        """
        trial = self.stages.trial
        determinants = teacher_determinants(template.key, trial.arm, trial.focus)
        key = template_key(determinants)
        return get_or_build(
            self.stores.folders["teacher"],
            key,
            lambda folder: self._build(folder, key, determinants, template, template_logits),
            user=self.out_dir,
            about={**self.about, "arm": trial.arm},
            wait=wait,
            while_waiting=lambda seconds: self.reporter.wait("waiting for teacher", key, seconds),
            exchange=self.stores.exchanges.get("teacher"),
            kind="teacher",
        )

    def teaching_stage(self, *, wait: bool = True) -> StoredStage:
        """The stage whose logits teach the student: the second, or the template where none is.

        Raises:
            Timeout: another process trains a stage that is missing, and ``wait`` is false.
        """
        template = self.template(wait=wait)
        if self.stages.trial.arm == TEMPLATE:
            return template
        return self.stored_second_stage(template, template.logits(), wait=wait)

    def _build(
        self,
        folder: Path,
        key: str,
        determinants: Mapping[str, Any],
        template: StoredStage,
        template_logits: pd.DataFrame,
    ) -> None:
        logits, metrics = self.training_logits(template_logits)
        data = self.stages.data
        at = f"training the teacher of {self._ensemble_of}"

        def on_start(records: list[EpochRecord]) -> None:
            if self._ensemble_of is None:
                self.reporter.report_missed("focus", template.epochs(), records)
            else:
                self.reporter.wait(at, key, 0.0)

        def on_record(record: EpochRecord) -> None:
            if self._ensemble_of is None:
                self.reporter.report_and_record(record)
            else:
                self.reporter.wait(at, key, record.seconds)

        weights = self.out_dir / WEIGHTS if self._ensemble_of is None else None
        result = SecondStageTraining(self.stages, self.checkpoints, on_start, on_record).run(
            template, logits, folder=folder, weights=weights, predict=tuple(data.splits)
        )
        write_stage(
            folder,
            weights=None,
            logits=split_logits_frame(data.split_names, result.logits, self.stages.classes),
            epochs=result.epochs,
            determinants=determinants,
            seconds=result.metrics["focus/seconds"],
            metrics=metrics | result.metrics,
            kind="teacher",
        )
