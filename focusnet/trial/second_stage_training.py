"""Trains the second stage of a trial: FocusNet, or what the arm puts in its place."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from focusnet.arms import FOCUSNET, MASKED, REFERENCE, settings_of_arm, used_focus_settings
from focusnet.config import FocusConfig, TemplateConfig
from focusnet.model.passt import Passt
from focusnet.schedule import warmup_linear_down
from focusnet.system.atomic import replacing
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.second_stage import mask_statistics, second_stage_objective
from focusnet.trial.stage_training import StageTraining, Trained, predict_split
from focusnet.trial.stages import Logits, PasstStages
from focusnet.trial.stored_stages import StoredStage

_LATER_OF_DISTILLATION = ("form", "label_weight", "teacher_weight")


class SecondStageResult(NamedTuple):
    """The outcome of the second stage."""

    logits: dict[str, Logits]  # by split: of both halves, as a teacher of the training clips too
    metrics: dict[str, float]  # of its masks, and the seconds it took
    epochs: list[EpochRecord]


@dataclass(frozen=True)
class SecondStageTraining:
    """Trains the second stage.

    Args:
        on_start: called with the epochs of earlier processes. on_record: called after each epoch.
    """

    stages: PasstStages
    checkpoints: Checkpoints
    on_start: Callable[[list[EpochRecord]], None]
    on_record: Callable[[EpochRecord], None]

    def run(
        self,
        template: StoredStage,
        training_logits: Logits,
        *,
        folder: Path,
        weights: Path | None,
        predict: tuple[str, ...],
    ) -> SecondStageResult:
        """Train with template logits (N, C) of the training clips, or with the template online.

        Args:
            folder: of the checkpoint.
            weights: file for the trained weights; None: they are not kept.
            predict: splits to predict.
        """
        began = time.monotonic()
        stages, trial = self.stages, self.stages.trial
        focus = settings_of_arm(trial.arm, trial.focus)
        online = self._online_template(template) if focus.template_logits == "online" else None
        checkpoint, resumed = self.checkpoints.open(
            "focus",
            folder,
            stage_determinants(template.key, trial.arm, focus),
        )
        self.on_start(resumed.records if resumed else [])
        trained = StageTraining(
            stages,
            "focus",
            second_stage_objective(trial.arm, focus, online),
            _training_settings(trial.template, focus),
            lr_factor=warmup_linear_down(**trial.template.schedule.model_dump()),
            checkpoint=checkpoint,
            resumed=resumed,
            on_record=self.on_record,
            rows=stages.data.train,
            template_logits=training_logits,
        ).run()
        splits = stages.data.splits
        logits = {split: predict_split(stages, trained, split, splits[split]) for split in predict}
        if weights is not None:
            save_weights(trained.model, weights)
        metrics = self._masks(focus, None if online else training_logits, trained)
        before = resumed.seconds if resumed else 0.0
        metrics["focus/seconds"] = time.monotonic() - began + before
        return SecondStageResult(logits, metrics, trained.records)

    def _online_template(self, template: StoredStage) -> Passt:
        """The template's network, to run on every training batch."""
        network = self.stages.build(training=False)
        network.load_state_dict(template.weights())
        return network.to(self.stages.device).requires_grad_(False)

    def _masks(
        self, focus: FocusConfig, stored: Logits | None, trained: Trained
    ) -> dict[str, float]:
        """How many classes the confusion masks hold: of stored logits, else in the last epoch."""
        if self.stages.trial.arm not in MASKED:
            return {}
        if stored is None:
            last = trained.records[-1]
            names = ("warm_classes", "only_label_warm")
            return {f"focus/{name}": last.metrics[f"focus/train/{name}"] for name in names}
        labels = self.stages.data.labels(self.stages.data.train)
        return mask_statistics(stored, labels, focus.threshold, focus.temperature)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the state dict of a network, whole or not at all."""
    with replacing(path) as part:
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, part)


def stage_determinants(template_key: str, arm: str, focus: FocusConfig) -> dict[str, Any]:
    """What determines the second stage, for its checkpoint.

    A setting that came later counts only where it is not the default, so that stages begun before
    it existed go on.
    """
    settings = focus.model_dump()
    default = FocusConfig().model_dump()["distillation"]
    for name in _LATER_OF_DISTILLATION:
        if settings["distillation"][name] == default[name]:
            del settings["distillation"][name]
    return {"template": template_key, "arm": arm, "focus": settings}


def teacher_determinants(template_key: str, arm: str, focus: FocusConfig) -> dict[str, Any]:
    """What determines the second stage, for its key in the store: only settings that ``arm`` uses.

    The reference is FocusNet with certain settings, so both share what is equal.
    """
    if arm == REFERENCE:
        arm, focus = FOCUSNET, settings_of_arm(arm, focus)
    return {"template": template_key, "arm": arm, "focus": used_focus_settings(arm, focus)}


def _training_settings(template: TemplateConfig, focus: FocusConfig) -> TemplateConfig:
    """The template's training settings, with those that ``focus`` changes."""
    own = focus.model_dump(include={"epochs", "batch_size", "lr", "weight_decay"})
    changes = {name: value for name, value in own.items() if value is not None}
    return template.model_copy(update=changes)
