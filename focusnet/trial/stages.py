"""Training and evaluating the PaSST of either stage, as one trial's settings say.

The edge where configuration objects are unpacked; what it calls takes plain parameters.
"""

import hashlib
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from focusnet.augment import DeviceImpulseResponses
from focusnet.config import TemplateConfig, TrialConfig
from focusnet.errors import ConfigError, TrainingError
from focusnet.mel import LogMel
from focusnet.model.passt import Passt, build_model, weights_path
from focusnet.model.weights import sha256_of
from focusnet.schedule import warmup_linear_down
from focusnet.system.device import pick_device
from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.gpu_clips import Residence
from focusnet.training.loop import Augmentation, Objective, predict_logits, train_stage
from focusnet.training.metrics import evaluate_logits
from focusnet.trial.data import Rows, TrialData
from focusnet.trial.fit import check_fit
from focusnet.trial.folder import Record

Logits = NDArray[np.float32]


def derive_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that no two parts of a trial share a random stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:8], "big") >> 1


def _given_up(problem: str, retries: int) -> str:
    if not retries:
        return problem
    times = "once" if retries == 1 else f"{retries} times"
    return (
        f"{problem} (tried again {times} from the last good epoch with other random numbers, "
        "as compute.non_finite_retries allows)"
    )


@dataclass(frozen=True)
class Trained:
    """What a stage has made."""

    model: Passt
    select: Logits | None  # its logits on that half, where they are known already


class Stages:
    """What both stages of a trial share: data, front end, device, settings.

    ``gpu_share`` is how much of its GPU is the trial's.
    """

    def __init__(
        self, trial: TrialConfig, data: TrialData, cache: Path, gpu_share: float = 1.0
    ) -> None:
        self.trial = trial
        self.data = data
        self.cache = cache
        self.classes = data.dataset.classes
        self.device = pick_device(trial.compute.device)
        if "auto" in (trial.compute.precision, trial.compute.compile):
            raise ValueError("auto is not resolved, see focusnet.auto_settings")
        if trial.compute.compile and self.device.type == "cpu":
            raise ConfigError("compute.compile: must be false on a CPU, received true")
        torch.set_num_threads(trial.compute.threads)
        rows = np.concatenate([data.train, *data.halves.values()])
        self.residence = Residence(
            data.waveforms.samples, data.waveforms.position[rows], self.device, gpu_share
        )
        self.mel = LogMel(
            **trial.features.model_dump(),
            fmin_aug_range=trial.augment.fmin_aug_range,
            fmax_aug_range=trial.augment.fmax_aug_range,
            freq_mask=trial.augment.freq_mask,
            time_mask=trial.augment.time_mask,
        )
        frames = self.mel.frames(data.waveforms.samples.shape[1])
        check_fit(trial, frames, len(self.classes))

    def build(self, training: bool) -> Passt:
        """A fresh PaSST, the same for both stages; with patchout and offset for training."""
        augment = self.trial.augment
        return build_model(
            self.trial.model,
            len(self.classes),
            n_mels=self.trial.features.n_mels,
            patchout_freq=augment.patchout_freq if training else 0,
            patchout_time=augment.patchout_time if training else 0,
            time_offset=augment.time_offset and training,
            class_tokens_only=True,
            compiled=self.trial.compute.compile is True,
            seed=derive_seed(self.trial.seed, "model"),
            cache=self.cache,
        )

    def train(
        self,
        stage: str,
        objective: Objective,
        training: TemplateConfig,
        on_record: Callable[[Record], None],
        checkpoint: Checkpoint,
        before: StageState | None,
        template_logits: Logits | None = None,
        *,
        rows: Rows | None = None,
        watched: bool = True,
    ) -> Trained:
        """Train a PaSST for ``stage`` ('template' or 'focus'), a fresh one or from ``before`` on.

        ``on_record`` gets, after each epoch, the stage, the epoch, the means of the objective's
        terms and, every ``compute.eval_epochs`` and at the end, the metrics on ``select``; by then
        the epoch is in ``checkpoint``. ``template_logits`` belong to the training clips. ``rows``
        are the clips to train on, all training clips by default. Unless the stage is ``watched``,
        it is not evaluated. ``keep: best`` needs every epoch, and gets it.

        Where the loss is not finite, the stage goes on from its last good epoch as often as
        ``compute.non_finite_retries`` says, with random numbers that the seed, the stage and the
        number of the retry determine.

        Raises:
            TrainingError: the loss is still not finite.
        """
        trial = self.trial
        rows = self.data.train if rows is None else rows
        generator = torch.Generator().manual_seed(derive_seed(trial.seed, f"{stage}/augment"))
        order = torch.Generator().manual_seed(derive_seed(trial.seed, f"{stage}/order"))
        model = self.build(training=True)
        model.generator = generator
        generators = {"augment": generator, "order": order}
        select = self.data.halves["select"]
        allowed = trial.compute.non_finite_retries
        good = before or StageState(
            epoch=0,
            model=model.state_dict(),
            optimizer=None,
            generators={name: one.get_state() for name, one in generators.items()},
            best_score=-1.0,
            best=None,
            records=[],
            seconds=0.0,
        )
        model.load_state_dict(good.model)
        for purpose, state in good.generators.items():
            generators[purpose].set_state(state)
        if allowed:
            good = deepcopy(good)  # training changes the model's own tensors
        records, retries = list(good.records), good.retries
        best_score, best_state = good.best_score, good.best
        kept: Logits | None = None  # on select, of the weights that the stage will end with
        started = time.monotonic() - good.seconds
        batches = self.data.batches(rows, training.batch_size, order, template_logits)
        self.residence.release()

        def on_epoch(epoch: int, means: dict[str, float], optimizer: dict[str, Any]) -> None:
            nonlocal best_score, best_state, good, kept
            batches.resident = self.residence.settle()
            metrics: dict[str, float] = {}
            due = epoch % trial.compute.eval_epochs == 0 or epoch == training.epochs
            logits = None
            if (watched and due) or training.keep == "best":
                logits = self.predict(model, select)
                metrics = self.evaluate(logits, select)
            if training.keep != "best":
                kept = logits
            elif metrics["macro_accuracy"] > best_score:
                best_score, kept = metrics["macro_accuracy"], logits
                best_state = {name: value.clone() for name, value in model.state_dict().items()}
            record: Record = {"stage": stage, "epoch": epoch, "epochs": training.epochs}
            record |= {f"{stage}/train/{name}": value for name, value in means.items()}
            record |= {f"{stage}/select/{name}": value for name, value in metrics.items()}
            record["seconds"] = time.monotonic() - started
            if retries:
                record["non_finite_retries"] = retries
            records.append(record)
            state = StageState(
                epoch=epoch,
                model=model.state_dict(),
                optimizer=optimizer,
                generators={name: one.get_state() for name, one in generators.items()},
                best_score=best_score,
                best=best_state,
                records=records,
                seconds=time.monotonic() - started,
                retries=retries,
            )
            checkpoint.save(state)
            if allowed and epoch < training.epochs:
                good = deepcopy(state)
            on_record(record)

        while True:
            try:
                train_stage(
                    model,
                    self.mel,
                    objective,
                    batches,
                    self._augmentation(),
                    generator,
                    epochs=training.epochs,
                    optimizer=training.optimizer,
                    lr=training.lr,
                    weight_decay=training.weight_decay,
                    lr_factor=warmup_linear_down(**training.schedule.model_dump()),
                    device=self.device,
                    precision=trial.compute.precision,
                    on_epoch=on_epoch,
                    done=good.epoch,
                    optimizer_state=good.optimizer,
                )
                break
            except TrainingError as error:
                if retries >= allowed:
                    checkpoint.remove()  # going on from it would end in the same way
                    raise TrainingError(_given_up(str(error), retries)) from None
            retries += 1
            model.load_state_dict(good.model)
            for purpose, one in generators.items():
                one.manual_seed(derive_seed(trial.seed, f"{stage}/{purpose}/retry {retries}"))
        if best_state is not None:
            model.load_state_dict(best_state)
        return Trained(model, kept)

    def predict_half(self, trained: Trained, half: str) -> Logits:
        """Logits (N, C) of 'select' or 'report'; nothing is computed twice."""
        if half == "select" and trained.select is not None:
            return trained.select
        return self.predict(trained.model, self.data.halves[half])

    def predict(self, model: Passt, rows: Rows) -> Logits:
        """Logits (N, C) of clips, in evaluation mode."""
        compute = self.trial.compute
        batches = self.data.batches(rows, compute.eval_batch_size)
        batches.resident = self.residence.clips
        return predict_logits(
            model, self.mel, batches, device=self.device, precision=compute.precision
        )

    def evaluate(self, logits: Logits, rows: Rows) -> dict[str, float]:
        """All metrics of the logits of clips."""
        return evaluate_logits(
            logits, self.data.labels(rows), self.data.devices(rows), self.classes
        )

    def determinants(self) -> dict[str, Any]:
        """All that determines the template, and nothing else."""
        trial, data = self.trial, self.data
        path = weights_path(trial.model.weights, self.cache)
        compute = trial.compute.model_dump(include={"precision", "threads", "eval_batch_size"})
        if trial.compute.compile:  # templates of before there was such a setting stay what they are
            compute["compile"] = True
        splits = {"train": data.train, **data.halves}
        return {
            "data": data.fingerprint,
            "clips": {split: data.names(rows) for split, rows in splits.items()},
            "seed": trial.seed,
            "features": trial.features.model_dump(),
            "augment": trial.augment.model_dump(exclude={"dir_folder"}),
            "model": trial.model.model_dump(exclude={"weights"}),
            "weights": sha256_of(path) if path else None,
            "template": trial.template.model_dump(exclude={"reuse"}),
            "compute": compute,
            "device": self.device.type,
            "versions": {
                name: version(name) for name in ("torch", "torchaudio", "hear21passt", "lightning")
            },
        }

    def _augmentation(self) -> Augmentation:
        augment = self.trial.augment
        responses = None
        if self.data.responses is not None:
            samples = self.data.waveforms.samples.shape[1]
            responses = DeviceImpulseResponses(self.data.responses, samples)
        return Augmentation(
            responses=responses,
            dir_probability=augment.dir_probability,
            roll_samples=augment.roll,
            mixstyle_probability=augment.mixstyle_probability,
            mixstyle_alpha=augment.mixstyle_alpha,
        )
