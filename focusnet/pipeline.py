"""Runs one trial: trains the template, takes its logits of the training clips, trains FocusNet.

Where the settings have a student, it is trained last, from FocusNet's logits.

It knows nothing of Ray: a study passes callbacks.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from focusnet.arms import LABELS, TEMPLATE
from focusnet.auto_settings import resolve
from focusnet.config import TrialConfig, cache_folder
from focusnet.errors import GpuMemoryError
from focusnet.store import CHECKPOINT
from focusnet.student.stages import StudentStages
from focusnet.student.teaching import Teaching, ensemble, mean_teaching
from focusnet.student.training import StudentTraining
from focusnet.system.atomic import write_json
from focusnet.system.logs import log_to_file
from focusnet.system.validation import validate
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.gpu_memory import share_gpu
from focusnet.trial.data import prepare_data
from focusnet.trial.folder import TrialFolder
from focusnet.trial.logits import align_logits, write_frame
from focusnet.trial.reporter import Report, Reporter
from focusnet.trial.result import Comparison, TrialResult, compare_stages
from focusnet.trial.stages import Logits, PasstStages, Stages
from focusnet.trial.stored_stages import StageExchange, StoredStage
from focusnet.trial.teachers import Stores, Teacher

__all__ = ["TrialResult", "prepare_data", "run_trial"]

logger = logging.getLogger(__name__)

LOG = "trial.log"


def run_trial(
    config: TrialConfig | Mapping[str, Any],
    out_dir: Path | str,
    report: Report | None = None,
    while_waiting: Callable[[str], None] | None = None,
    exchanges: Mapping[str, StageExchange] | None = None,
    gpu_share: float = 1.0,
) -> TrialResult:
    """Run all stages; write results, ``predictions.parquet``, weights, settings and a log.

    Args:
        config: the trial's settings, or a mapping that is validated first.
        out_dir: folder for the results; ``result.json`` appears last. ``weights.safetensors`` is
            the state dict of FocusNet's PaSST (with a student only where this trial has trained
            it), ``student.safetensors`` that of the student, ``config.yaml`` holds every setting.
        report: called after each epoch with the stage, the epoch and its metrics. What it raises
            ends the trial; the epoch counts as reported, except after
            ``errors.ReportNotDelivered``. The last epoch is reported when the results are written.
            A stage from the store is not trained again, and its epochs are not reported again;
            the last epoch of a student is reported in any case.
        while_waiting: called with what the trial does while it reports no epochs: several times a
            second while another process trains its template or one of a fold, and after each epoch
            of a fold's template that it trains itself. What it raises ends the trial.
        exchanges: exchange stages with machines that do not share the cache, by kind: 'template',
            'teacher' and 'student'.
        gpu_share: fraction of its GPU that is the trial's. The audio is copied there if the network
            leaves room for it.

    If an earlier process died or was stopped in a trial with the same settings and ``out_dir``,
    this one resumes from its last checkpoint; epochs that were reported are not reported again.

    Raises:
        ConfigError, DataError, TrainingError, GpuMemoryError: see ``focusnet.errors``.
    """
    settings = config if isinstance(config, TrialConfig) else validate(TrialConfig, config)
    out_dir = Path(out_dir).absolute()
    with log_to_file(out_dir / LOG, logging.DEBUG), _end_logged():
        trial = _Trial(settings, out_dir, report, while_waiting, exchanges, gpu_share)
        try:
            return trial.run()
        except torch.OutOfMemoryError as error:
            raise GpuMemoryError(trial.stages.too_little_memory()) from error
        finally:
            with suppress(RuntimeError):  # of a GPU in a bad state: the first error counts
                trial.release()


@contextmanager
def _end_logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        # For the log file only: a command prints the message itself.
        logger.debug("the trial failed", exc_info=True)
        raise
    except BaseException as stop:
        logger.info("the trial was stopped (%s)", type(stop).__name__)
        raise


class _Trial:
    """One trial on its way through the stages."""

    def __init__(
        self,
        trial: TrialConfig,
        out_dir: Path,
        report: Report | None,
        while_waiting: Callable[[str], None] | None,
        exchanges: Mapping[str, StageExchange] | None,
        gpu_share: float,
    ) -> None:
        self.out_dir = out_dir
        self.cache = cache_folder(trial.data.cache)
        self.gpu_share = gpu_share
        self.data = prepare_data(trial)
        epochs = trial.template.epochs + (trial.focus.epochs or trial.template.epochs)
        self.trial = trial = resolve(trial, out_dir, epochs * len(self.data.train))
        self.folder = TrialFolder(out_dir)
        self.reporter = Reporter(self.folder, report, while_waiting)
        compute = trial.compute
        self.checkpoints = Checkpoints(compute.checkpoint_epochs, compute.checkpoint_seconds)
        self.stores = Stores.of_trial(self.cache, out_dir, trial.template.reuse, exchanges)
        # The student first: limits that it exceeds are reported before anything is trained.
        self.student: StudentStages | None = None
        if trial.student is not None and self.data.student is not None:
            self.student = StudentStages(trial, trial.student, self.data.student, gpu_share)
        self.teacher = None if trial.arm == LABELS else self._teacher(trial)
        self.stages: Stages = self._passt() if self.teacher is not None else self.student_stages()
        share_gpu(self.stages.device, gpu_share)

    def student_stages(self) -> StudentStages:
        assert self.student is not None
        return self.student

    def release(self) -> None:
        """Free the clips on the GPU: a trainer that has ended may still refer to them."""
        if self.teacher is not None:
            self.teacher.stages.gpu_cache.release()
        if self.student is not None:
            self.student.gpu_cache.release()

    def run(self) -> TrialResult:
        began = time.monotonic()
        # 1. The settings go on record.
        self._record_settings()
        found = _Found()
        if self.teacher is not None:
            # 2. The template comes from the store, or is trained.
            template = self._train_template(self.teacher, found)
            # 3. The second stage learns from its logits: FocusNet, or what the arm has instead.
            if self.trial.arm != TEMPLATE:
                self._train_second_stage(self.teacher, template, found)
        # 4. The student, if there is one, learns from the last of them.
        if self.student is not None:
            self._train_student(self.student, found)
        # 5. All stages are compared on both halves of the test split.
        compared = compare_stages(self.student or self._passt(), found.logits)
        write_frame(self.out_dir / "predictions.parquet", compared.predictions)
        metrics = found.metrics | compared.metrics
        metrics["seconds"] = time.monotonic() - began + self.checkpoints.seconds_before
        result = self._result(found, compared, metrics)
        write_json(self.out_dir / "result.json", result.content())
        (self.out_dir / CHECKPOINT).unlink(missing_ok=True)
        for half in self.data.halves:
            logger.info("%s", result.summary(half, self.trial.arm))
        self.reporter.report(found.epochs[-1])
        return result

    def _passt(self) -> PasstStages:
        assert self.teacher is not None
        return self.teacher.stages

    def _record_settings(self) -> None:
        trial = self.trial
        settings = trial.model_dump()
        if trial.student is None:
            del settings["student"]
        self.folder.record_settings(settings)
        clips = {split: len(rows) for split, rows in self.data.splits.items()}
        logger.info(
            "arm %s, seed %d, subset %d %% (%s clips), device %s, precision %s%s",
            trial.arm,
            trial.seed,
            trial.data.subset,
            ", ".join(f"{split} {count}" for split, count in clips.items()),
            (self.student or self._passt()).device,
            trial.compute.precision,
            ", compiled" if trial.compute.compile else "",
        )

    def _teacher(self, trial: TrialConfig, ensemble_of: str | None = None) -> Teacher:
        stages = PasstStages(trial, self.data, self.cache, self.gpu_share)
        about = self._about(trial.seed, trial.model.size, trial.template.epochs)
        return Teacher(
            stages,
            self.checkpoints,
            self.reporter,
            self.stores,
            self.out_dir,
            about,
            ensemble_of=ensemble_of,
        )

    def _about(self, seed: int, model: str, epochs: int) -> dict[str, Any]:
        """What a person wants to know of a stage in the store."""
        return {
            "data": self.data.dataset.root.name,
            "subset": f"{self.trial.data.subset} %",
            "seed": seed,
            "model": model,
            "epochs": epochs,
        }

    def _train_template(self, teacher: Teacher, found: "_Found") -> StoredStage:
        template = found.template = teacher.template()
        logger.info("template %s, trained by %s", template.key, template.built_by())
        found.add("template", template.epochs(), self._of_halves(template.logits()))
        found.metrics["template/seconds"] = template.seconds()
        return template

    def _train_second_stage(self, teacher: Teacher, template: StoredStage, found: "_Found") -> None:
        logits = template.logits()
        if self.student is None:
            training_logits, metrics = teacher.training_logits(logits)
            second = teacher.second_stage(template, training_logits)
            found.add("focus", second.epochs, second.logits)
            found.metrics |= metrics | second.metrics
            return
        stored = found.teacher = teacher.stored_second_stage(template, logits)
        logger.info("teacher %s, trained by %s", stored.key, stored.built_by())
        found.add("focus", stored.epochs(), self._of_halves(stored.logits()))
        found.metrics |= stored.metrics()

    def _train_student(self, stages: StudentStages, found: "_Found") -> None:
        if self.teacher is not None:
            self.teacher.stages.gpu_cache.release()
        self.stages = stages
        settings = stages.student
        about = self._about(self.trial.seed, "student", settings.epochs)
        training = StudentTraining(
            stages,
            self.checkpoints,
            self.reporter,
            self.stores.folders["student"],
            self.out_dir,
            about | {"arm": self.trial.arm},
            self.stores.exchanges.get("student"),
        )
        student = found.student = training.run(self._teaching(found), found.epochs)
        logger.info("student %s, trained by %s", student.key, student.built_by())
        found.add("student", student.epochs(), self._of_halves(student.logits()))
        found.metrics |= student.metrics() | {"student/seconds": student.seconds()}

    def _teaching(self, found: "_Found") -> Teaching | None:
        """The logits that teach the student: of its own teacher, or the mean of an ensemble."""
        own = found.teacher or found.template
        if own is None or self.trial.student is None:
            return None
        stages, seeds = [own], self.trial.student.teacher_seeds
        if seeds is not None:
            stages = ensemble(own, self.trial.seed, seeds, self._member)
        names = self.data.names(self.data.train)
        return mean_teaching(stages, names, self.data.dataset.classes)

    def _member(self, seed: int, label: str) -> Teacher:
        return self._teacher(self.trial.model_copy(update={"seed": seed}), label)

    def _of_halves(self, frame: pd.DataFrame) -> dict[str, Logits]:
        """Logits of both halves of the test split."""
        names, classes = self.data.split_names, self.data.dataset.classes
        return {half: align_logits(frame, names[half], classes) for half in self.data.halves}

    def _result(
        self, found: "_Found", compared: Comparison, metrics: dict[str, float]
    ) -> TrialResult:
        template, teacher, student = found.template, found.teacher, found.student
        return TrialResult(
            metrics=metrics,
            template_key=template.key if template else None,
            template_reused=self._reused(template),
            confusion=compared.confusion,
            classes=self.data.dataset.classes,
            clips={split: len(rows) for split, rows in self.data.splits.items()},
            skipped=self.data.waveforms.skipped,
            teacher_key=teacher.key if teacher else None,
            teacher_reused=self._reused(teacher),
            student_key=student.key if student else None,
            student_reused=self._reused(student),
        )

    def _reused(self, stage: StoredStage | None) -> bool | None:
        return None if stage is None else stage.built_by() != str(self.out_dir)


@dataclass
class _Found:
    """What the stages of a trial have given so far."""

    logits: dict[str, dict[str, Logits]] = field(default_factory=dict)  # by stage and half
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: list[EpochRecord] = field(default_factory=list)
    template: StoredStage | None = None
    teacher: StoredStage | None = None
    student: StoredStage | None = None

    def add(self, stage: str, epochs: list[EpochRecord], logits: dict[str, Logits]) -> None:
        """Take a stage that has ended."""
        self.epochs += epochs
        self.logits[stage] = logits
