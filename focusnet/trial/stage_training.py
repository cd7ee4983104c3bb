"""Trains the network of one stage of a trial: evaluation, checkpoints, best epoch, retries."""

import logging
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from focusnet.config import StudentConfig, TemplateConfig
from focusnet.errors import TrainingError
from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.epoch_record import EpochRecord
from focusnet.training.loop import train_stage
from focusnet.training.micro_batches import Objective
from focusnet.trial.data import Rows
from focusnet.trial.seeds import StageGenerators
from focusnet.trial.stages import Logits, Stages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The outcome of a stage."""

    model: nn.Module
    select_logits: Logits | None  # the model's logits on select, if they are known already
    records: list[EpochRecord]  # of all epochs, those of earlier processes included


class StageTraining:
    """Trains a fresh network for one stage, or resumes from ``resumed``.

    Args:
        stage: 'template', 'focus' or 'student'; random streams and metrics are named after it.
        training: epochs, batch size, optimiser, learning rate and which epoch to keep.
        lr_factor: schedule of the learning rate, by epoch or with ``lr_by_step`` by batch.
        checkpoint: where the stage's state is saved after epochs.
        resumed: a state that an earlier process has saved there.
        on_record: called after each epoch; by then the epoch is in ``checkpoint``.
        rows: clips to train on; ``template_logits`` (N, C) belong to them.
        evaluated: whether the stage is evaluated on select, every ``compute.eval_epochs`` and at
            the end. ``keep: best`` evaluates after every epoch in any case.
        label: what the log calls the stage, by default ``stage``.
    """

    def __init__(
        self,
        stages: Stages,
        stage: str,
        objective: Objective,
        training: TemplateConfig | StudentConfig,
        *,
        lr_factor: Callable[[int], float],
        lr_by_step: bool = False,
        checkpoint: Checkpoint,
        resumed: StageState | None,
        on_record: Callable[[EpochRecord], None],
        rows: Rows,
        template_logits: Logits | None = None,
        evaluated: bool = True,
        label: str | None = None,
    ) -> None:
        self._stages = stages
        self._stage = stage
        self._objective = objective
        self._training = training
        self._lr_factor = lr_factor
        self._lr_by_step = lr_by_step
        self._checkpoint = checkpoint
        self._on_record = on_record
        self._evaluated = evaluated
        self._label = label or stage
        self._generators = StageGenerators(stages.trial.seed, stage)
        self._model = stages.build(training=True, generator=self._generators.augment)
        self._batches = stages.data.batches(
            rows,
            training.batch_size,
            self._generators.order,
            template_logits,
            gpu_cache=stages.gpu_cache,
        )
        self._start = resumed or self._fresh_state()
        self._began = time.monotonic() - self._start.seconds
        self._records = list(self._start.records)
        self._kept = KeptEpoch(training.keep, self._start.best_score, self._start.best)
        self._retries = NonFiniteRetries(stages.trial.compute.non_finite_retries, self._start)

    def run(self) -> Trained:
        """Train up to the last epoch.

        Raises:
            TrainingError: the loss is not finite, after all retries.
        """
        self._stages.gpu_cache.release()
        try:
            self._train_with_retries()
        finally:
            self._checkpoint.wait()  # a trial that is stopped resumes from what is being written
        self._kept.restore(self._model)
        return Trained(self._model, self._kept.logits, self._records)

    def _train_with_retries(self) -> None:
        state = self._start
        self._model.load_state_dict(state.model)
        self._generators.restore(state.generators)
        while True:
            try:
                self._train_from(state)
                return
            except TrainingError as error:
                if not self._retries.left:
                    self._checkpoint.remove()  # resuming from it would end in the same way
                    raise self._retries.describe_failure(error) from None
                state = self._retries.next_start()
                retry = f"retry {self._retries.used} from epoch {state.epoch}"
                logger.warning("%s: %s; %s", self._label, error, retry)
                self._model.load_state_dict(state.model)
                self._generators.reseed(self._retries.used)

    def _train_from(self, state: StageState) -> None:
        training = self._training
        train_stage(
            self._model,
            self._stages.mel,
            self._objective,
            self._batches,
            self._stages.augmentation(),
            self._generators.augment,
            epochs=training.epochs,
            optimizer=training.optimizer,
            lr=training.lr,
            weight_decay=training.weight_decay,
            lr_factor=self._lr_factor,
            lr_by_step=self._lr_by_step,
            device=self._stages.device,
            precision=self._stages.trial.compute.precision,
            micro_batch=self._stages.micro_batch(training.batch_size),
            on_epoch=self._after_epoch,
            done=state.epoch,
            optimizer_state=state.optimizer,
        )

    def _after_epoch(self, epoch: int, means: dict[str, float], optimizer: dict[str, Any]) -> None:
        self._stages.gpu_cache.fill_if_room()
        logits, metrics = self._evaluate(epoch)
        self._kept.update(self._model, logits, metrics)
        record = self._record(epoch, means, metrics)
        self._records.append(record)
        state = StageState(
            epoch=epoch,
            model=self._model.state_dict(),
            optimizer=optimizer,
            generators=self._generators.states(),
            best_score=self._kept.score,
            best=self._kept.weights,
            records=self._records,
            seconds=record.seconds,
            retries=self._retries.used,
        )
        self._checkpoint.save(state)
        if not record.is_last:
            self._retries.remember(state)
        logger.info("%s %s", self._label, record)
        self._on_record(record)

    def _evaluate(self, epoch: int) -> tuple[Logits | None, dict[str, float]]:
        """Logits and metrics on select, if they are due after ``epoch``."""
        every = self._stages.trial.compute.eval_epochs
        due = self._evaluated and (epoch % every == 0 or epoch == self._training.epochs)
        if not due and self._training.keep != "best":
            return None, {}
        select = self._stages.data.halves["select"]
        logits = self._stages.predict(self._model, select)
        return logits, self._stages.evaluate(logits, select)

    def _record(
        self, epoch: int, means: Mapping[str, float], metrics: Mapping[str, float]
    ) -> EpochRecord:
        named = {f"{self._stage}/train/{name}": value for name, value in means.items()}
        named |= {f"{self._stage}/select/{name}": value for name, value in metrics.items()}
        return EpochRecord(
            stage=self._stage,
            epoch=epoch,
            epochs=self._training.epochs,
            metrics=named,
            seconds=time.monotonic() - self._began,
            non_finite_retries=self._retries.used,
        )

    def _fresh_state(self) -> StageState:
        return StageState(
            epoch=0,
            model=self._model.state_dict(),
            optimizer=None,
            generators=self._generators.states(),
            best_score=-1.0,
            best=None,
            records=[],
            seconds=0.0,
        )


def predict_split(stages: Stages, trained: Trained, split: str, rows: Rows) -> Logits:
    """Logits (N, C) of a split's clips; those of select are not computed a second time."""
    if split == "select" and trained.select_logits is not None:
        return trained.select_logits
    return stages.predict(trained.model, rows)


class KeptEpoch:
    """The epoch whose weights a stage ends with: its last, or its best on select.

    Args:
        score, weights: of the best epoch so far, from a checkpoint.
    """

    def __init__(
        self, keep: Literal["last", "best"], score: float, weights: dict[str, Tensor] | None
    ) -> None:
        self._best = keep == "best"
        self.score = score
        self.weights = weights  # with keep: best
        self.logits: Logits | None = None  # on select, if that epoch was evaluated in this process

    def update(self, model: nn.Module, logits: Logits | None, metrics: Mapping[str, float]) -> None:
        """Take the epoch that has just ended if it is the one to keep."""
        if not self._best:
            self.logits = logits
        elif metrics["macro_accuracy"] > self.score:
            self.score, self.logits = metrics["macro_accuracy"], logits
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Give ``model`` the weights of that epoch."""
        if self.weights is not None:
            model.load_state_dict(self.weights)


class NonFiniteRetries:
    """Restarts a stage whose loss is not finite from its last good epoch.

    Args:
        allowed: ``compute.non_finite_retries``.
        start: the state that the stage starts or resumes from.
    """

    def __init__(self, allowed: int, start: StageState) -> None:
        self._allowed = allowed
        self.used = start.retries
        self._good = deepcopy(start) if allowed else start

    @property
    def left(self) -> bool:
        """Whether the stage may be tried again."""
        return self.used < self._allowed

    def remember(self, state: StageState) -> None:
        """Keep a state to restart from; a copy, as training changes the model's own tensors."""
        if self._allowed:
            self._good = deepcopy(state)

    def next_start(self) -> StageState:
        """The last good state, for one more try; a copy, as the optimizer changes its tensors."""
        self.used += 1
        return deepcopy(self._good)

    def describe_failure(self, error: TrainingError) -> TrainingError:
        """``error``, with the number of retries if there were any."""
        if not self.used:
            return error
        times = "once" if self.used == 1 else f"{self.used} times"
        return TrainingError(
            f"{error} (tried again {times} from the last good epoch with other random numbers, "
            "as compute.non_finite_retries allows)"
        )
