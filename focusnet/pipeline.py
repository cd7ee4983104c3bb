"""Runs one trial: trains the template, takes its logits of the training clips, trains FocusNet.

It knows nothing of Ray: a study passes callbacks.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

from focusnet.auto_settings import resolve
from focusnet.config import TrialConfig, cache_folder
from focusnet.store import CHECKPOINT
from focusnet.system.atomic import write_json, write_text
from focusnet.system.logs import log_to_file
from focusnet.system.validation import validate
from focusnet.training.checkpoint import Checkpoints
from focusnet.training.second_stage import shuffle_within_classes
from focusnet.trial.cross_fitting import CrossFitting
from focusnet.trial.data import prepare_data, training_folds
from focusnet.trial.folder import TrialFolder
from focusnet.trial.logits import align_logits, write_frame
from focusnet.trial.reporter import Report, Reporter
from focusnet.trial.result import Comparison, TrialResult, compare_stages
from focusnet.trial.second_stage_training import SecondStageResult, SecondStageTraining
from focusnet.trial.seeds import derive_seed
from focusnet.trial.stages import Logits, Stages
from focusnet.trial.template_key import template_determinants
from focusnet.trial.template_training import TemplateProvider, TemplateRequest
from focusnet.trial.templates import Template, TemplateExchange

__all__ = ["TrialResult", "prepare_data", "run_trial"]

logger = logging.getLogger(__name__)

LOG = "trial.log"


def run_trial(
    config: TrialConfig | Mapping[str, Any],
    out_dir: Path | str,
    report: Report | None = None,
    while_waiting: Callable[[str], None] | None = None,
    template_exchange: TemplateExchange | None = None,
    gpu_share: float = 1.0,
) -> TrialResult:
    """Run both stages; write results, ``predictions.parquet``, weights, settings and a log.

    Args:
        config: the trial's settings, or a mapping that is validated first.
        out_dir: folder for the results; ``result.json`` appears last. ``weights.safetensors`` is
            the state dict of FocusNet's PaSST, ``config.yaml`` holds every setting of the trial.
        report: called after each epoch with the stage, the epoch and its metrics. What it raises
            ends the trial; the epoch counts as reported, except after
            ``errors.ReportNotDelivered``. The last epoch is reported when the results are written.
            A template from the store is not trained again, and its epochs are not reported again.
        while_waiting: called with what the trial does while it reports no epochs: several times a
            second while another process trains its template or one of a fold, and after each epoch
            of a fold's template that it trains itself. What it raises ends the trial.
        template_exchange: exchanges templates with machines that do not share the cache.
        gpu_share: fraction of its GPU that is the trial's. The audio is copied there if the network
            leaves room for it.

    If an earlier process died or was stopped in a trial with the same settings and ``out_dir``,
    this one resumes from its last checkpoint; epochs that were reported are not reported again.

    Raises:
        ConfigError, DataError, TrainingError: see ``focusnet.errors``.
    """
    settings = config if isinstance(config, TrialConfig) else validate(TrialConfig, config)
    out_dir = Path(out_dir).absolute()
    with log_to_file(out_dir / LOG, logging.DEBUG), _end_logged():
        trial = _Trial(settings, out_dir, report, while_waiting, template_exchange, gpu_share)
        try:
            return trial.run()
        finally:
            trial.stages.gpu_cache.release()  # a trainer that has ended may still refer to it


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
        template_exchange: TemplateExchange | None,
        gpu_share: float,
    ) -> None:
        self.out_dir = out_dir
        cache = cache_folder(trial.data.cache)
        self.data = prepare_data(trial)
        epochs = trial.template.epochs + (trial.focus.epochs or trial.template.epochs)
        self.trial = trial = resolve(trial, out_dir, epochs * len(self.data.train))
        self.stages = Stages(trial, self.data, cache, gpu_share)
        self.folder = TrialFolder(out_dir)
        self.reporter = Reporter(self.folder, report, while_waiting)
        self.checkpoints = Checkpoints(trial.compute.checkpoint_epochs)
        store = cache / "templates" if trial.template.reuse else out_dir / "template"
        self.templates = TemplateProvider(
            self.stages, self.checkpoints, store, out_dir, template_exchange
        )
        self.about = {
            "data": self.data.dataset.root.name,
            "subset": f"{trial.data.subset} %",
            "seed": trial.seed,
            "model": trial.model.size,
            "epochs": trial.template.epochs,
        }

    def run(self) -> TrialResult:
        began = time.monotonic()
        # 1. The settings go on record.
        self._record_settings()
        # 2. The template comes from the store, or is trained.
        template = self._template()
        template_logits = template.logits()
        # 3. Its logits of the training clips are prepared for the second stage.
        training_logits, metrics = self._training_logits(template_logits)
        # 4. The second stage is trained: FocusNet, or what the arm puts in its place.
        second = SecondStageTraining(
            self.stages, self.checkpoints, self.reporter, self.out_dir
        ).run(template, training_logits)
        # 5. Both stages are compared on both halves of the test split.
        metrics |= second.metrics
        metrics["template/seconds"] = template.seconds()
        compared = self._compare(template_logits, second)
        metrics |= compared.metrics
        metrics["seconds"] = time.monotonic() - began + self.checkpoints.seconds_before
        result = self._result(template, compared, metrics)
        write_json(self.out_dir / "result.json", asdict(result))
        (self.out_dir / CHECKPOINT).unlink(missing_ok=True)
        self._log_result(result)
        self.reporter.report(second.last_record)
        return result

    def _record_settings(self) -> None:
        trial = self.trial
        settings = yaml.safe_dump(trial.model_dump(), sort_keys=False, allow_unicode=True)
        write_text(self.out_dir / "config.yaml", settings)
        clips = {split: len(rows) for split, rows in self.data.splits.items()}
        logger.info(
            "arm %s, seed %d, subset %d %% (%s clips), device %s, precision %s%s",
            trial.arm,
            trial.seed,
            trial.data.subset,
            ", ".join(f"{split} {count}" for split, count in clips.items()),
            self.stages.device,
            trial.compute.precision,
            ", compiled" if trial.compute.compile else "",
        )

    def _template(self) -> Template:
        request = TemplateRequest(
            label="template",
            determinants=template_determinants(self.stages),
            train=self.data.train,
            predict=self.data.splits,
            logits_only=False,
            about=self.about,
            on_start=lambda key, records: self.folder.begin(records),
            on_record=lambda key, record: self.reporter.report_and_record(record),
            while_waiting=lambda key, seconds: self.reporter.wait(
                "waiting for template", key, seconds
            ),
        )
        template = self.templates.get(request)
        logger.info("template %s, trained by %s", template.key, template.built_by())
        return template

    def _training_logits(self, template_logits: pd.DataFrame) -> tuple[Logits, dict[str, float]]:
        """Template logits of the training clips for the second stage, and metrics of them."""
        train = self.data.train
        logits = align_logits(template_logits, self.data.names(train), self.stages.classes)
        metrics: dict[str, float] = {}
        fold_of = training_folds(self.trial, self.data)
        if fold_of is not None:
            fitting = CrossFitting(self.stages, fold_of, self.templates, self.reporter, self.about)
            in_fold = logits
            logits, metrics["folds/seconds"] = fitting.logits()
            metrics |= fitting.compare(in_fold, logits)
        if self.trial.arm == "placebo":
            generator = torch.Generator().manual_seed(derive_seed(self.trial.seed, "placebo"))
            logits = shuffle_within_classes(logits, self.data.labels(train), generator)
        return logits, metrics

    def _compare(self, template_logits: pd.DataFrame, second: SecondStageResult) -> Comparison:
        """Compare the stages on both halves; writes ``predictions.parquet``."""
        data = self.data
        template = {
            half: align_logits(template_logits, data.names(rows), self.stages.classes)
            for half, rows in data.halves.items()
        }
        compared = compare_stages(self.stages, {"template": template, "focus": second.logits})
        write_frame(self.out_dir / "predictions.parquet", compared.predictions)
        return compared

    def _result(
        self, template: Template, compared: Comparison, metrics: dict[str, float]
    ) -> TrialResult:
        return TrialResult(
            metrics=metrics,
            template_key=template.key,
            template_reused=template.built_by() != str(self.out_dir),
            confusion=compared.confusion,
            classes=self.stages.classes,
            clips={split: len(rows) for split, rows in self.data.splits.items()},
            skipped=self.data.waveforms.skipped,
        )

    def _log_result(self, result: TrialResult) -> None:
        for half in self.data.halves:
            before, after, gain = (
                100 * result.metrics[f"{stage}/{half}/macro_accuracy"]
                for stage in ("template", "focus", "gain")
            )
            text = "%s macro accuracy: template %.1f %%, %s %.1f %%, gain %+.1f"
            logger.info(text, half, before, self.trial.arm, after, gain)
