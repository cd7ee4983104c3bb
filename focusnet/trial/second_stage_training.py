"""Trains the second stage of a trial: FocusNet, or what the arm puts in its place."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file

from focusnet.arms import MASKED, settings_of_arm
from focusnet.config import FocusConfig, TemplateConfig
from focusnet.model.passt import Passt
from focusnet.store import WEIGHTS
from focusnet.system.atomic import replacing
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.second_stage import mask_statistics, second_stage_objective
from focusnet.trial.reporter import Reporter
from focusnet.trial.stage_training import StageTraining, predict_split
from focusnet.trial.stages import Logits, Stages
from focusnet.trial.templates import Template

_LATER_OF_DISTILLATION = ("form", "label_weight", "teacher_weight")


class SecondStageResult(NamedTuple):
    """The outcome of the second stage."""

    logits: dict[str, Logits]  # by half of the test split
    metrics: dict[str, float]  # of its masks, and the seconds it took
    last_record: EpochRecord  # recorded, but not reported yet


@dataclass(frozen=True)
class SecondStageTraining:
    """Trains the second stage.

    Args:
        out_dir: results folder of the trial; gets ``weights.safetensors``.
    """

    stages: Stages
    checkpoints: Checkpoints
    reporter: Reporter
    out_dir: Path

    def run(self, template: Template, training_logits: Logits) -> SecondStageResult:
        """Train with template logits (N, C) of the training clips, or with the template online."""
        began = time.monotonic()
        stages, trial = self.stages, self.stages.trial
        focus = settings_of_arm(trial.arm, trial.focus)
        online = self._online_template(template) if focus.template_logits == "online" else None
        checkpoint, resumed = self.checkpoints.open(
            "focus",
            self.out_dir,
            stage_determinants(template.key, trial.arm, focus),
        )
        self._report_missed(template, resumed.records if resumed else [])
        trained = StageTraining(
            stages,
            "focus",
            second_stage_objective(trial.arm, focus, online),
            _training_settings(trial.template, focus),
            checkpoint=checkpoint,
            resumed=resumed,
            on_record=self._on_record,
            rows=stages.data.train,
            template_logits=training_logits,
        ).run()
        logits = {
            half: predict_split(stages, trained, half, rows)
            for half, rows in stages.data.halves.items()
        }
        with replacing(self.out_dir / WEIGHTS) as part:
            state = trained.model.state_dict()
            save_file({name: value.contiguous() for name, value in state.items()}, part)
        last = trained.records[-1]
        metrics = {}
        if trial.arm in MASKED:
            metrics = self._masks(focus, None if online else training_logits, last)
        before = resumed.seconds if resumed else 0.0
        metrics["focus/seconds"] = time.monotonic() - began + before
        return SecondStageResult(logits, metrics, last)

    def _online_template(self, template: Template) -> Passt:
        """The template's network, to run on every training batch."""
        network = self.stages.build(training=False)
        network.load_state_dict(template.weights())
        return network.to(self.stages.device).requires_grad_(False)

    def _report_missed(self, template: Template, records: list[EpochRecord]) -> None:
        """Record the epochs so far; report those whose process died before it reported them."""
        folder = self.reporter.folder
        reported = folder.reported("focus")
        told = [record for record in records if record.epoch in reported]
        folder.begin([*template.epochs(), *told])
        for record in records:
            if record.epoch not in reported:
                self._on_record(record)

    def _on_record(self, record: EpochRecord) -> None:
        """Report an epoch; the last one is only recorded, and reported with the results."""
        if record.is_last:
            self.reporter.folder.add(record)
        else:
            self.reporter.report_and_record(record)

    def _masks(
        self, focus: FocusConfig, stored: Logits | None, last: EpochRecord
    ) -> dict[str, float]:
        """How many classes the confusion masks hold: of stored logits, else in the last epoch."""
        if stored is None:
            names = ("warm_classes", "only_label_warm")
            return {f"focus/{name}": last.metrics[f"focus/train/{name}"] for name in names}
        labels = self.stages.data.labels(self.stages.data.train)
        return mask_statistics(stored, labels, focus.threshold, focus.temperature)


def stage_determinants(template_key: str, arm: str, focus: FocusConfig) -> dict[str, Any]:
    """What determines the second stage.

    A setting that came later counts only where it is not the default, so that stages begun before
    it existed go on.
    """
    settings = focus.model_dump()
    default = FocusConfig().model_dump()["distillation"]
    for name in _LATER_OF_DISTILLATION:
        if settings["distillation"][name] == default[name]:
            del settings["distillation"][name]
    return {"template": template_key, "arm": arm, "focus": settings}


def _training_settings(template: TemplateConfig, focus: FocusConfig) -> TemplateConfig:
    """The template's training settings, with those that ``focus`` changes."""
    own = focus.model_dump(include={"epochs", "batch_size", "lr", "weight_decay"})
    changes = {name: value for name, value in own.items() if value is not None}
    return template.model_copy(update=changes)
