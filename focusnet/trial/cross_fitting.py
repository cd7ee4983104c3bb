"""Template logits of training clips as a template gives them that was not trained on them.

A network is surer of the clips it was trained on than of new ones, so the masks of its logits on
its own training clips hold fewer classes than it confuses. With ``focus.template_logits:
cross_fitted`` the training clips are divided into folds by location, and the clips of each are
predicted by a template that was trained as *the* template is, on the clips of the other folds
only. It is the very template that these clips alone would give, random numbers included.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.objectives import CrossEntropy
from focusnet.trial.folder import Record
from focusnet.trial.logits import align_logits, logits_frame
from focusnet.trial.stages import Logits, Stages
from focusnet.trial.templates import Elsewhere, Template, get_or_build, template_key, write_template

OpenCheckpoint = Callable[[str, Path, Mapping[str, Any]], tuple[Checkpoint, StageState | None]]

_COMPARED = ("macro_accuracy", "accuracy", "log_loss", "calibration_error")


@dataclass(frozen=True)
class CrossFitting:
    """Builds or takes the templates of the folds of a trial's training clips.

    Args:
        fold_of: fold of each training clip (N,), from 0.
        store: of the templates; each fold's is a key of its own, and no weights are kept of it.
        user: results folder of the trial.
        about: what a person wants to know of the trial's template.
        open_checkpoint: gives a stage's checkpoint and the state that is left in it.
        while_waiting: called while a fold's template is trained, by this process or another, with
            words for that, the template's key and the seconds since it began.
        elsewhere: where templates are exchanged with other machines.
    """

    stages: Stages
    fold_of: NDArray[np.int64]
    store: Path
    user: Path
    about: Mapping[str, Any]
    open_checkpoint: OpenCheckpoint
    while_waiting: Callable[[str, str, float], None]
    elsewhere: Elsewhere | None = None

    @property
    def folds(self) -> int:
        return int(self.fold_of.max()) + 1

    def logits(self) -> tuple[Logits, float]:
        """Out-of-fold logits (N, C) of the training clips, and the seconds their templates took."""
        data = self.stages.data
        logits = np.empty((len(data.train), len(self.stages.classes)), np.float32)
        seconds, left = 0.0, list(range(self.folds))
        # First what no other process trains just now: trials side by side share the work.
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

    def compare(self, own: Logits, out_of_fold: Logits) -> dict[str, float]:
        """Metrics of the training clips, ``template/train/...`` and ``folds/train/...``.

        They show how much surer the template is of clips that it was trained on.
        """
        metrics: dict[str, float] = {}
        for stage, logits in (("template", own), ("folds", out_of_fold)):
            values = self.stages.evaluate(logits, self.stages.data.train)
            metrics |= {f"{stage}/train/{name}": values[name] for name in _COMPARED}
        return metrics

    def _template(self, fold: int, wait: bool) -> Template:
        stages, data = self.stages, self.stages.data
        name = f"fold {fold + 1} of {self.folds}"
        held_out = data.train[self.fold_of == fold]
        others = data.train[self.fold_of != fold]
        determinants = stages.determinants()
        determinants["clips"] = {
            "train": data.names(others),
            "held_out": data.names(held_out),
            "select": data.names(data.halves["select"]),
        }
        key = template_key(determinants)

        def build(folder: Path) -> None:
            started = time.monotonic()
            checkpoint, before = self.open_checkpoint(name, folder, {"template": key})
            training_it = f"training {name} on {len(others)} of {len(data.train)} clips"
            self.while_waiting(training_it, key, 0.0)
            records = list(before.records) if before else []

            def on_record(record: Record) -> None:
                records.append(record)
                self.while_waiting(training_it, key, record["seconds"])

            training = stages.trial.template
            trained = stages.train(
                "template",
                CrossEntropy(training.label_smoothing),
                training,
                on_record,
                checkpoint,
                before,
                rows=others,
                watched=False,
            )
            logits = stages.predict(trained.model, held_out)
            frame = logits_frame(data.names(held_out), logits, stages.classes)
            frame.insert(1, "split", "train")
            write_template(
                folder,
                weights=None,
                logits=frame,
                epochs=records,
                determinants=determinants,
                seconds=time.monotonic() - started + (before.seconds if before else 0.0),
            )

        return get_or_build(
            self.store,
            key,
            build,
            user=self.user,
            about={**self.about, "fold": name.removeprefix("fold ")},
            wait=wait,
            while_waiting=partial(self.while_waiting, f"waiting for {name}", key),
            elsewhere=self.elsewhere,
        )
