"""Trains a network with Lightning, and predicts logits with it."""

import logging
import math
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from focusnet.errors import TrainingError
from focusnet.system.allocator import keep_freed_memory
from focusnet.system.precision import autocast
from focusnet.training.augmentation import Augmentation
from focusnet.training.batches import Batch, ClipBatches
from focusnet.training.micro_batches import Objective, backward_in_parts
from focusnet.training.recorded_steps import RecordedSteps, logits_of

OnEpoch = Callable[[int, dict[str, float], dict[str, Any]], None]

_SCALER = "loss_scale"  # in an optimiser's state: what fp16 multiplies the loss by, and since when


class Stage(lightning.LightningModule):
    """The Lightning module of one stage of a trial.

    Args: see ``train_stage``.
    """

    def __init__(
        self,
        model: nn.Module,
        mel: nn.Module,
        objective: Objective,
        augmentation: Augmentation,
        generator: Generator,
        *,
        optimizer: str,
        lr: float,
        weight_decay: float,
        lr_factor: Callable[[int], float],
        on_epoch: OnEpoch,
        done: int,
        optimizer_state: dict[str, Any] | None,
        steps_per_epoch: int | None = None,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        # Lightning's own steps need the whole loss at once.
        self.automatic_optimization = micro_batch is None
        self.micro_batch = micro_batch
        self.model = model
        self.mel = mel
        self.objective = objective
        self.augmentation = augmentation
        self.generator = generator
        self.optimizer_name = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_factor = lr_factor
        self.on_epoch = on_epoch
        self.done = done
        self.steps_per_epoch = steps_per_epoch
        self.optimizer_state = optimizer_state
        self._logits = RecordedSteps(model)
        self._sums: dict[str, Tensor] = {}
        self._clips = 0

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Fused Adam or AdamW."""
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer_name]
        return kind(self.model.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and its schedule by epoch or by step."""
        optimizer = self.make_optimizer()
        if self.optimizer_state is not None:
            state = dict(self.optimizer_state)
            self.trainer.precision_plugin.load_state_dict(state.pop(_SCALER, {}))
            optimizer.load_state_dict(state)
        done = self.done * (self.steps_per_epoch or 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_factor, done - 1)
        interval = "epoch" if self.steps_per_epoch is None else "step"
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": interval},
        }

    def release(self) -> None:
        """Drop what only training needs, so that its GPU memory can be used for something else."""
        self._logits = RecordedSteps(self.model)
        self.model.zero_grad()  # gradients lie in the memory of the recording

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch, except what random decisions on the CPU need."""
        return batch.to(device)

    def on_train_epoch_start(self) -> None:
        """Reset the sums of the epoch."""
        self._sums, self._clips = {}, 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; its terms are summed on the device, so that the CPU does not wait."""
        spec = self.augmentation.spectrogram(batch, self.mel, self.generator)
        if self.micro_batch is None:
            terms = self.objective(self._logits(spec), batch, spec)
        else:
            terms = self._step_in_parts(batch, spec, self.micro_batch)
        clips = len(batch.labels)
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach() * clips
        self._clips += clips
        return terms["loss"]

    def _step_in_parts(self, batch: Batch, spec: Tensor, size: int) -> dict[str, Tensor]:
        """Take the step that Lightning would take; returns the terms of the loss."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad()
        terms = backward_in_parts(
            self.model, self.objective, batch, spec, size, self.manual_backward
        )
        optimizer.step()
        if self.steps_per_epoch is not None:
            self._schedule().step()
        return terms

    def _schedule(self) -> torch.optim.lr_scheduler.LambdaLR:
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        return schedule

    def on_train_epoch_end(self) -> None:
        """Pass the epoch's means to ``on_epoch``; a non-finite loss ends the stage."""
        epoch = self.done + self.current_epoch + 1
        # All at once: each read from the GPU waits until it has finished its work.
        totals = torch.stack(list(self._sums.values())).tolist()
        means = {name: total / self._clips for name, total in zip(self._sums, totals, strict=True)}
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"the training loss became {means['loss']} in epoch {epoch}; "
                "a smaller learning rate or focus weight may help"
            )
        finite = torch.stack([value.isfinite().all() for value in self.model.parameters()])
        if not bool(finite.all()):
            # A finite loss does not show it: it is that of the weights before the last step.
            raise TrainingError(
                f"weights are not finite after epoch {epoch}; "
                "a smaller learning rate or focus weight may help"
            )
        if not self.automatic_optimization and self.steps_per_epoch is None:
            self._schedule().step()  # Lightning does so before, in its own steps
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        scaler = self.trainer.precision_plugin.state_dict()  # empty unless it is fp16
        state = optimizer.state_dict()
        self.on_epoch(epoch, means, state | {_SCALER: scaler} if scaler else state)


def predict_logits(
    model: nn.Module,
    mel: nn.Module,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str,
) -> NDArray[np.float32]:
    """Logits (N, C) in evaluation mode and without augmentation, in the order of ``batches``.

    The modes of ``model`` and ``mel`` are restored.
    """
    keep_freed_memory()
    modes = [(module, module.training) for module in (model, mel)]
    for module, _ in modes:
        module.to(device).eval()
    parts = []
    with torch.inference_mode(), autocast(device, precision):
        for batch in batches:
            spec = mel(batch.to(device).clips.gather()).unsqueeze(1)
            parts.append(logits_of(model(spec)).float())
    for module, training in modes:
        module.train(training)
    return torch.cat(parts).cpu().numpy()  # the CPU waits for a GPU here only


def train_stage(
    model: nn.Module,
    mel: nn.Module,
    objective: Objective,
    batches: ClipBatches,
    augmentation: Augmentation,
    generator: Generator,
    *,
    epochs: int,
    optimizer: str,
    lr: float,
    weight_decay: float,
    lr_factor: Callable[[int], float],
    device: torch.device,
    precision: str,
    on_epoch: OnEpoch,
    done: int = 0,
    optimizer_state: dict[str, Any] | None = None,
    lr_by_step: bool = False,
    micro_batch: int | None = None,
) -> None:
    """Train ``model`` in place.

    ``lr_factor`` gets the number of epochs done, with ``lr_by_step`` that of batches.
    ``on_epoch`` gets the epoch (from 1), the means of the objective's terms over its clips and the
    optimiser's state dict. It may evaluate the model, and what it raises ends the training.
    To resume after ``done`` epochs, pass the ``optimizer_state`` that it got after them, with the
    model and the generators as they were then. With ``micro_batch`` only so many clips of a batch
    are computed at a time; the model must have no batch normalisation then.

    Raises:
        TrainingError: the loss or the weights are not finite.
    """
    keep_freed_memory()
    mel.to(device).train()
    model.to(device).train()
    if augmentation.responses is not None:
        augmentation.responses.to(device)
    stage = Stage(
        model,
        mel,
        objective,
        augmentation,
        generator,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        lr_factor=lr_factor,
        on_epoch=on_epoch,
        done=done,
        optimizer_state=optimizer_state,
        steps_per_epoch=len(batches) if lr_by_step else None,
        micro_batch=micro_batch,
    )
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning advises loader processes, which ClipBatches does without.
        warnings.filterwarnings("ignore", module="lightning")
        trainer = _trainer(device, precision, epochs - done)
        try:
            if done < epochs:
                _fit(trainer, stage, batches)
        finally:
            stage.release()


def _trainer(device: torch.device, precision: str, epochs: int) -> lightning.Trainer:
    """A trainer that logs, saves and prints nothing."""
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        # Ray starts the processes; inside a SLURM job Lightning would look for its tasks.
        plugins=[LightningEnvironment(), _precision_plugin(device, precision)],
    )


def _precision_plugin(device: torch.device, precision: str) -> Precision:
    """How Lightning computes a step; with fp16 it scales the loss, or small gradients become 0."""
    if precision == "bf16":
        return MixedPrecision("bf16-mixed", device.type)
    if precision == "fp16":
        return MixedPrecision("16-mixed", device.type)
    return Precision()


def _fit(trainer: lightning.Trainer, stage: Stage, batches: ClipBatches) -> None:
    """Fit, and end at a signal as other programs do.

    Lightning would exit with status 1 at Ctrl-C and ignore the next one, and with status 0 at
    SIGTERM.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(stage, train_dataloaders=batches)
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, on_interrupt)
            raise KeyboardInterrupt from None
        raise
