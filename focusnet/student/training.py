"""Trains the student of a trial, or takes it from the store."""

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from focusnet.config import StudentConfig
from focusnet.schedule import warmup_cosine, warmup_linear_down
from focusnet.store import STUDENT_WEIGHTS, WEIGHTS
from focusnet.student.check import student_costs
from focusnet.student.stages import StudentStages
from focusnet.student.teaching import Teaching
from focusnet.system.atomic import replacing
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.objectives import CrossEntropy, FieldDistillation
from focusnet.trial.logits import split_logits_frame
from focusnet.trial.reporter import Reporter
from focusnet.trial.stage_training import StageTraining, predict_split
from focusnet.trial.stored_stages import StageExchange, StoredStage, get_or_build, write_stage
from focusnet.trial.template_key import template_key


@dataclass(frozen=True)
class StudentTraining:
    """Trains the student of a trial, or takes it from the store: equal ones are trained once.

    Args:
        store: folder of the students.
        out_dir: results folder of the trial; gets the student's weights.
        about: what a person wants to know of it in the store.
    """

    stages: StudentStages
    checkpoints: Checkpoints
    reporter: Reporter
    store: Path
    out_dir: Path
    about: Mapping[str, Any]
    exchange: StageExchange | None = None

    def run(self, teaching: Teaching | None, before: list[EpochRecord]) -> StoredStage:
        """The student that ``teaching`` gives; without it, it learns from the labels alone.

        Its last epoch is recorded, and left to the caller to report.

        Args:
            before: epochs of the trial's stages so far.
        """
        determinants = student_determinants(self.stages, teaching.keys if teaching else None)
        key = template_key(determinants)
        student = get_or_build(
            self.store,
            key,
            lambda folder: self._train(folder, key, determinants, teaching, before),
            user=self.out_dir,
            about=self.about,
            while_waiting=lambda seconds: self.reporter.wait("waiting for student", key, seconds),
            exchange=self.exchange,
            kind="student",
        )
        with replacing(self.out_dir / STUDENT_WEIGHTS) as part:
            shutil.copyfile(student.folder / WEIGHTS, part)
        self.reporter.folder.begin([*before, *student.epochs()])
        return student

    def _train(
        self,
        folder: Path,
        key: str,
        determinants: Mapping[str, Any],
        teaching: Teaching | None,
        before: list[EpochRecord],
    ) -> None:
        began = time.monotonic()
        stages, settings = self.stages, self.stages.student
        data = stages.data
        checkpoint, resumed = self.checkpoints.open("student", folder, {"student": key})
        self.reporter.report_missed(
            "student", before, resumed.records if resumed else [], hold_last=True
        )
        steps = settings.epochs * math.ceil(len(data.train) / settings.batch_size)
        factor, by_step = student_schedule(settings, steps)
        trained = StageTraining(
            stages,
            "student",
            student_objective(settings, taught=teaching is not None),
            settings,
            lr_factor=factor,
            lr_by_step=by_step,
            checkpoint=checkpoint,
            resumed=resumed,
            on_record=lambda record: self.reporter.report_and_record(record, hold=record.is_last),
            rows=data.train,
            template_logits=teaching.logits if teaching else None,
        ).run()
        logits = {
            half: predict_split(stages, trained, half, rows) for half, rows in data.halves.items()
        }
        write_stage(
            folder,
            weights=trained.model.cpu().state_dict(),
            logits=split_logits_frame(data.split_names, logits, stages.classes),
            epochs=trained.records,
            determinants=determinants,
            seconds=time.monotonic() - began + (resumed.seconds if resumed else 0.0),
            metrics=student_costs(settings, data.waveforms.samples.shape[1], len(stages.classes)),
            kind="student",
        )


def student_objective(settings: StudentConfig, *, taught: bool) -> nn.Module:
    """What the student minimises."""
    if not taught:
        return CrossEntropy(label_smoothing=0.0)
    loss = settings.distillation
    return FieldDistillation(loss.temperature, loss.label_weight, loss.teacher_weight)


def student_schedule(settings: StudentConfig, steps: int) -> tuple[Callable[[int], float], bool]:
    """Factor on the learning rate for a training of ``steps`` batches; whether it is by batch."""
    schedule = settings.schedule
    if schedule.form == "cosine":
        return warmup_cosine(round(schedule.warmup_share * steps), steps), True
    names = {"warmup", "ramp_down_start", "ramp_down_length", "last_value"}
    return warmup_linear_down(**schedule.model_dump(include=names)), False


def student_determinants(stages: StudentStages, teachers: list[str] | None) -> dict[str, Any]:
    """All that determines a student.

    Args:
        teachers: keys of the stages whose logits teach it; None without a teacher.
    """
    trial, data = stages.trial, stages.data
    settings = stages.student.model_dump(exclude={"limits", "teachers", "teacher_seeds"})
    if teachers is None:
        del settings["distillation"]
    return {
        "data": data.fingerprint,
        "clips": data.split_names,
        "seed": trial.seed,
        "student": settings,
        "teachers": teachers,
        "compute": trial.compute.model_dump(include={"precision", "threads", "eval_batch_size"}),
        "device": stages.device.type,
        "versions": {name: version(name) for name in ("torch", "torchaudio", "lightning")},
    }
