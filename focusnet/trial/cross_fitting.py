"""Computes out-of-fold template logits of the training clips.

A network is more confident on the clips it was trained on than on new ones, so masks from its
logits on its own training clips hold fewer classes than it confuses. With ``focus.template_logits:
cross_fitted`` the training clips are divided into folds by location. The clips of each fold are
predicted by a template that is trained on the other folds only, with the settings and seed of the
trial's own template.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from focusnet.training.epoch_record import EpochRecord
from focusnet.trial.logits import align_logits
from focusnet.trial.reporter import Reporter
from focusnet.trial.stages import Logits, PasstStages
from focusnet.trial.stored_stages import StoredStage
from focusnet.trial.template_key import template_determinants
from focusnet.trial.template_training import TemplateProvider, TemplateRequest

_COMPARED = ("macro_accuracy", "accuracy", "log_loss", "calibration_error")


@dataclass(frozen=True)
class CrossFitting:
    """Trains the templates of a trial's folds, or takes them from the store.

    Each fold's template has a key of its own in the store, which keeps no weights of it.

    Args:
        fold_of: fold of each training clip (N,), from 0.
        about: what a person wants to know of the trial's template.
    """

    stages: PasstStages
    fold_of: NDArray[np.int64]
    templates: TemplateProvider
    reporter: Reporter
    about: Mapping[str, Any]

    @property
    def folds(self) -> int:
        return int(self.fold_of.max()) + 1

    def logits(self) -> tuple[Logits, float]:
        """Out-of-fold logits (N, C) of the training clips, and the seconds their templates took."""
        data = self.stages.data
        logits = np.empty((len(data.train), len(self.stages.classes)), np.float32)
        seconds, left = 0.0, list(range(self.folds))
        # First the folds that no other process is training: trials side by side share the work.
        for wait in (False, True):
            busy = []
            for fold in left:
                try:
                    template = self._template(fold, wait)
                except Timeout:
                    busy.append(fold)
                    continue
                held_out = self.fold_of == fold
                names = data.names(data.train[held_out])
                logits[held_out] = align_logits(template.logits(), names, self.stages.classes)
                seconds += template.seconds()
            left = busy
        return logits, seconds

    def compare(self, in_fold: Logits, out_of_fold: Logits) -> dict[str, float]:
        """Metrics of the training clips, ``template/train/...`` and ``folds/train/...``.

        They show how much more confident the template is on clips that it was trained on.
        """
        metrics: dict[str, float] = {}
        for stage, logits in (("template", in_fold), ("folds", out_of_fold)):
            values = self.stages.evaluate(logits, self.stages.data.train)
            metrics |= {f"{stage}/train/{name}": values[name] for name in _COMPARED}
        return metrics

    def _template(self, fold: int, wait: bool) -> StoredStage:
        data = self.stages.data
        number = f"{fold + 1} of {self.folds}"
        held_out = data.train[self.fold_of == fold]
        others = data.train[self.fold_of != fold]
        clips = {
            "train": data.names(others),
            "held_out": data.names(held_out),
            "select": data.names(data.halves["select"]),
        }
        training = f"training fold {number} on {len(others)} of {len(data.train)} clips"

        def on_start(key: str, records: list[EpochRecord]) -> None:
            self.reporter.wait(training, key, 0.0)

        def on_record(key: str, record: EpochRecord) -> None:
            self.reporter.wait(training, key, record.seconds)

        def while_waiting(key: str, seconds: float) -> None:
            self.reporter.wait(f"waiting for fold {number}", key, seconds)

        request = TemplateRequest(
            label=f"fold {number}",
            determinants=template_determinants(self.stages, clips),
            train=others,
            predict={"train": held_out},
            logits_only=True,
            about={**self.about, "fold": number},
            on_start=on_start,
            on_record=on_record,
            while_waiting=while_waiting,
        )
        return self.templates.get(request, wait=wait)
