"""One trial, both stages: template, its logits on its own training clips, FocusNet.

It knows nothing of Ray: a study hands in ``report``.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from safetensors.torch import save_file

from focusnet.arms import MASKED, settings_of_arm
from focusnet.auto_settings import resolve
from focusnet.config import TrialConfig, cache_folder, validate
from focusnet.errors import Unheard
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import replacing, write_json, write_text
from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.objectives import CrossEntropy
from focusnet.training.second_stage import (
    mask_statistics,
    second_stage_objective,
    shuffle_within_classes,
)
from focusnet.trial.cross_fitting import CrossFitting
from focusnet.trial.data import Rows
from focusnet.trial.folder import Record, TrialFolder
from focusnet.trial.logits import align_logits, logits_frame, write_frame
from focusnet.trial.preparation import prepare_data, training_folds
from focusnet.trial.result import TrialResult, compare_stages
from focusnet.trial.stages import Logits, Stages, Trained, derive_seed
from focusnet.trial.templates import Elsewhere, Template, get_or_build, template_key, write_template

__all__ = ["TrialResult", "prepare_data", "run_trial"]

Report = Callable[[Record], None]


def run_trial(
    config: TrialConfig | Mapping[str, Any],
    out_dir: Path | str,
    report: Report | None = None,
    while_waiting: Callable[[str], None] | None = None,
    elsewhere: Elsewhere | None = None,
    gpu_share: float = 1.0,
) -> TrialResult:
    """Run both stages; write results, ``predictions.parquet``, weights and their configuration.

    Args:
        config: the trial's settings, or a mapping that is validated first.
        out_dir: folder for the results; ``result.json`` appears last. ``weights.safetensors`` is
            the state dict of FocusNet's PaSST, ``config.yaml`` holds every setting of the trial.
        report: called after each epoch with the stage, the epoch and its metrics. What it raises
            ends the trial; the epoch counts as reported, unless that is ``errors.Unheard``. The
            last epoch is reported when the results are written. A template from the store is not
            trained again, and its epochs are not reported again.
        while_waiting: called where no epochs are reported, with what the trial is at: some times a
            second while another process trains its template or one of a fold, and after each epoch
            of a fold that it trains itself; what it raises ends the trial.
        elsewhere: where templates are exchanged with machines that do not share the store.
        gpu_share: how much of its GPU is the trial's, where several share one. The audio is copied
            there where the network leaves room for it.

    Where a process died (or was stopped) in a trial with the same settings and ``out_dir``, this
    one goes on from its last checkpoint; epochs that were reported are not reported again.

    Raises:
        ConfigError, DataError, TrainingError: see ``focusnet.errors``.
    """
    trial = config if isinstance(config, TrialConfig) else validate(TrialConfig, config)
    both = _Trial(
        trial,
        Path(out_dir),
        report or (lambda record: None),
        while_waiting or (lambda at: None),
        elsewhere,
        gpu_share,
    )
    try:
        return both.run()
    finally:
        both.stages.residence.release()


class _Trial:
    """One trial on its way through the stages."""

    def __init__(
        self,
        trial: TrialConfig,
        out_dir: Path,
        report: Report,
        while_waiting: Callable[[str], None],
        elsewhere: Elsewhere | None,
        gpu_share: float,
    ) -> None:
        self.trial = trial
        self.out_dir = out_dir.absolute()
        self.report = report
        self.while_waiting = while_waiting
        self.elsewhere = elsewhere
        self.seconds_before = 0.0  # in processes that died
        self.cache = cache_folder(trial.data.cache)
        self.data = prepare_data(trial)
        epochs = trial.template.epochs + (trial.focus.epochs or trial.template.epochs)
        self.trial = resolve(trial, self.out_dir, epochs * len(self.data.train))
        self.stages = Stages(self.trial, self.data, self.cache, gpu_share)
        self.classes = self.data.dataset.classes
        self.splits: dict[str, Rows] = {"train": self.data.train, **self.data.halves}
        self.folder = TrialFolder(self.out_dir)
        reuse = trial.template.reuse
        self.store = self.cache / "templates" if reuse else self.out_dir / "template"
        self.about = {
            "data": self.data.dataset.root.name,
            "subset": f"{trial.data.subset} %",
            "seed": trial.seed,
            "model": trial.model.size,
            "epochs": trial.template.epochs,
        }

    def run(self) -> TrialResult:
        started = time.monotonic()
        settings = yaml.safe_dump(self.trial.model_dump(), sort_keys=False, allow_unicode=True)
        write_text(self.out_dir / "config.yaml", settings)
        template = self._template()
        template_logits, template_seconds = template.logits(), template.seconds()
        training_logits, metrics = self._training_logits(template_logits)
        focus_logits, last_record, focus_metrics = self._focus(template, training_logits)
        metrics |= focus_metrics
        metrics["template/seconds"] = template_seconds
        template_halves = {
            half: align_logits(template_logits, self.data.names(rows), self.classes)
            for half, rows in self.data.halves.items()
        }
        both = compare_stages(self.stages, {"template": template_halves, "focus": focus_logits})
        metrics |= both.metrics
        write_frame(self.out_dir / "predictions.parquet", both.predictions)
        metrics["seconds"] = time.monotonic() - started + self.seconds_before
        result = TrialResult(
            metrics=metrics,
            template_key=template.key,
            template_reused=template.built_by() != str(self.out_dir),
            confusion=both.confusion,
            classes=self.classes,
            clips={split: len(rows) for split, rows in self.splits.items()},
            skipped=self.data.waveforms.skipped,
        )
        write_json(self.out_dir / "result.json", asdict(result))
        (self.out_dir / CHECKPOINT).unlink(missing_ok=True)
        self.report(last_record)
        return result

    def _template(self) -> Template:
        trial = self.trial
        determinants = self.stages.determinants()
        key = template_key(determinants)

        def build(folder: Path) -> None:
            started = time.monotonic()
            checkpoint, before = self._checkpoint("template", folder, {"template": key})
            records = list(before.records) if before else []
            self.folder.begin(records)

            def on_record(record: Record) -> None:
                records.append(record)
                self._tell(record)

            objective = CrossEntropy(trial.template.label_smoothing)
            trained = self.stages.train(
                "template", objective, trial.template, on_record, checkpoint, before
            )
            logits = {"train": self.stages.predict(trained.model, self.data.train)}
            logits |= self._predict_halves(trained)
            frames = []
            for split, rows in self.splits.items():
                frame = logits_frame(self.data.names(rows), logits[split], self.classes)
                frame.insert(1, "split", split)
                frames.append(frame)
            write_template(
                folder,
                weights=trained.model.cpu().state_dict(),
                logits=pd.concat(frames, ignore_index=True),
                epochs=records,
                determinants=determinants,
                seconds=time.monotonic() - started + (before.seconds if before else 0.0),
            )

        return get_or_build(
            self.store,
            key,
            build,
            user=self.out_dir,
            about=self.about,
            while_waiting=lambda seconds: self._wait("waiting for template", key, seconds),
            elsewhere=self.elsewhere,
        )

    def _wait(self, at: str, key: str, seconds: float) -> None:
        """While the template ``key`` is not there: what the trial is at, and since when."""
        if not seconds:
            self.folder.wait(at, key)
        self.while_waiting(at)

    def _training_logits(self, template_logits: pd.DataFrame) -> tuple[Logits, dict[str, float]]:
        """Template logits of the training clips for the second stage, and metrics of them."""
        trial, train = self.trial, self.data.train
        logits = align_logits(template_logits, self.data.names(train), self.classes)
        metrics: dict[str, float] = {}
        fold_of = training_folds(trial, self.data)
        if fold_of is not None:
            fitting = CrossFitting(
                self.stages,
                fold_of,
                store=self.store,
                user=self.out_dir,
                about=self.about,
                open_checkpoint=self._checkpoint,
                while_waiting=self._wait,
                elsewhere=self.elsewhere,
            )
            own = logits
            logits, metrics["folds/seconds"] = fitting.logits()
            metrics |= fitting.compare(own, logits)
        if trial.arm == "placebo":
            generator = torch.Generator().manual_seed(derive_seed(trial.seed, "placebo"))
            logits = shuffle_within_classes(logits, self.data.labels(train), generator)
        return logits, metrics

    def _focus(
        self, template: Template, stored: Logits
    ) -> tuple[dict[str, Logits], Record, dict[str, float]]:
        """Train FocusNet; its test logits, its last epoch's record, its warm classes."""
        started = time.monotonic()
        focus = settings_of_arm(self.trial.arm, self.trial.focus)
        online = None
        if focus.template_logits == "online":
            online = self.stages.build(training=False)
            online.load_state_dict(template.weights())
            online.to(self.stages.device).requires_grad_(False)
        own = focus.model_dump(include={"epochs", "batch_size", "lr", "weight_decay"})
        changes = {name: value for name, value in own.items() if value is not None}
        last: Record = {}

        def on_record(record: Record) -> None:
            if record["epoch"] < record["epochs"]:
                self._tell(record)
            else:
                self.folder.add(record)
                last.update(record)

        checkpoint, before = self._checkpoint(
            "focus",
            self.out_dir,
            {"template": template.key, "arm": self.trial.arm, "focus": focus.model_dump()},
        )
        records = before.records if before else []
        reported = self.folder.reported("focus")
        told = [record for record in records if record["epoch"] in reported]
        self.folder.begin([*template.epochs(), *told])
        for record in records:
            if record not in told:
                on_record(record)  # its process died between saving and reporting it
            elif record["epoch"] == record["epochs"]:
                last.update(record)
        trained = self.stages.train(
            "focus",
            second_stage_objective(self.trial.arm, focus, online),
            self.trial.template.model_copy(update=changes),
            on_record,
            checkpoint,
            before,
            stored,
        )
        logits = self._predict_halves(trained)
        with replacing(self.out_dir / "weights.safetensors") as part:
            state = trained.model.state_dict()
            save_file({name: value.contiguous() for name, value in state.items()}, part)
        metrics: dict[str, float] = {}
        if self.trial.arm in MASKED and online is None:
            # Masks of stored logits do not change while training: count them on the clips.
            labels = self.data.labels(self.data.train)
            metrics |= mask_statistics(stored, labels, focus.threshold, focus.temperature)
        elif self.trial.arm in MASKED:
            names = ("warm_classes", "only_label_warm")
            metrics |= {f"focus/{name}": last[f"focus/train/{name}"] for name in names}
        metrics["focus/seconds"] = time.monotonic() - started + (before.seconds if before else 0.0)
        return logits, last, metrics

    def _predict_halves(self, trained: Trained) -> dict[str, Logits]:
        return {half: self.stages.predict_half(trained, half) for half in self.data.halves}

    def _checkpoint(
        self, stage: str, folder: Path, determinants: Mapping[str, Any]
    ) -> tuple[Checkpoint, StageState | None]:
        """Where a stage keeps its state, and the state that a process which died has left there."""
        every = self.trial.compute.checkpoint_epochs
        checkpoint = Checkpoint(folder, determinants, self.folder.say, every)
        before = checkpoint.load()
        if before is not None:
            self.seconds_before += before.seconds
            self.folder.say(f"{stage}: going on after epoch {before.epoch}")
        return checkpoint, before

    def _tell(self, record: Record) -> None:
        """Report an epoch, then record that it was: also where the report stops the trial."""
        try:
            self.report(record)
        except Unheard:
            raise
        except BaseException:
            self.folder.add(record)
            raise
        self.folder.add(record)
