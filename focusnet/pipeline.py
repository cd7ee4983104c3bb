"""One trial, both stages: template, its logits on its own training clips, FocusNet.

It knows nothing of Ray: a study hands in ``report``.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from safetensors.torch import save_file

from focusnet.atomic import replacing, write_json, write_text
from focusnet.config import TrialConfig, cache_folder, validate
from focusnet.errors import DataError
from focusnet.loss import FocusNetLoss, warm_classes
from focusnet.metrics import confusion_matrix
from focusnet.model import weights_path
from focusnet.objective import CrossEntropy, FocusObjective
from focusnet.predictions import align_logits, logits_frame, write_frame
from focusnet.stages import Logits, Record, Stages
from focusnet.synthetic import ensure_dataset
from focusnet.templates import Template, get_or_build, template_key, write_template
from focusnet.trial_data import Rows, TrialData, load_trial_data
from focusnet.weights import sha256_of

Report = Callable[[Record], None]


@dataclass(frozen=True)
class TrialResult:
    """What a finished trial leaves; ``result.json`` holds the same."""

    metrics: dict[str, float]  # '<stage>/<half>/<metric>', 'gain/...', 'focus/warm_classes', ...
    template_key: str
    template_reused: bool
    confusion: dict[str, list[list[int]]]  # '<stage>/<half>': counts, rows are true scenes
    classes: tuple[str, ...]
    clips: dict[str, int]  # train, select, report
    skipped: tuple[str, ...]  # clips left out, with the reason


def prepare_data(trial: TrialConfig, progress: bool = True) -> TrialData:
    """Make, fetch, read and decode what a trial needs, its initial weights included.

    Safe to call from several processes at once.

    Raises:
        DataError: what is wrong with data set, audio, impulse responses and weights, all of it.
    """
    cache = cache_folder(trial.data.cache)
    problems: list[str] = []
    try:
        weights_path(trial.model.weights, cache)
    except DataError as error:
        problems += error.problems
    root = Path(trial.data.root).expanduser()
    if trial.data.root == "synthetic":
        root = ensure_dataset(cache, **trial.data.synthetic.model_dump(), progress=progress)
    folder = trial.augment.dir_folder if trial.augment.dir_probability > 0 else None
    try:
        data = load_trial_data(
            root,
            subset=trial.data.subset,
            subset_seed=trial.data.subset_seed,
            sample_rate=trial.features.sample_rate,
            on_bad_clip=trial.data.on_bad_clip,
            dir_folder=Path(folder).expanduser() if folder else None,
            cache=cache,
            progress=progress,
        )
    except DataError as error:
        raise DataError([*error.problems, *problems]) from None
    if problems:
        raise DataError(problems)
    return data


def run_trial(
    config: TrialConfig | Mapping[str, Any], out_dir: Path | str, report: Report | None = None
) -> TrialResult:
    """Run both stages; write results, ``predictions.parquet``, weights and their configuration.

    Args:
        config: the trial's settings, or a mapping that is validated first.
        out_dir: folder for the results; ``result.json`` appears last. ``weights.safetensors`` is
            the state dict of FocusNet's PaSST, ``config.yaml`` holds every setting of the trial.
        report: called after each epoch with the stage, the epoch and its metrics. What it raises
            ends the trial. The last epoch is reported when the results are written. A template
            from the store is not trained again, and its epochs are not reported again.

    Raises:
        ConfigError, DataError, TrainingError: see ``focusnet.errors``.
    """
    trial = config if isinstance(config, TrialConfig) else validate(TrialConfig, config)
    return _Trial(trial, Path(out_dir), report or (lambda record: None)).run()


class _Trial:
    """One trial on its way through the stages."""

    def __init__(self, trial: TrialConfig, out_dir: Path, report: Report) -> None:
        self.trial = trial
        self.out_dir = out_dir
        self.report = report
        self.cache = cache_folder(trial.data.cache)
        self.data = prepare_data(trial)
        self.stages = Stages(trial, self.data, self.cache)
        self.classes = self.data.dataset.classes
        self.splits: dict[str, Rows] = {"train": self.data.train, **self.data.halves}

    def run(self) -> TrialResult:
        started = time.monotonic()
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.epochs_path = self.out_dir / "epochs.jsonl"
        self.epochs_path.write_text("")
        settings = yaml.safe_dump(self.trial.model_dump(), sort_keys=False, allow_unicode=True)
        write_text(self.out_dir / "config.yaml", settings)
        template, built = self._template()
        if not built:
            for record in template.epochs():
                self._log(record)
        template_logits = template.logits()
        focus_started = time.monotonic()
        focus_logits, last_record, metrics = self._focus(template, template_logits)
        metrics["template/seconds"] = template.seconds()
        metrics["focus/seconds"] = time.monotonic() - focus_started
        confusion: dict[str, list[list[int]]] = {}
        frames: list[pd.DataFrame] = []
        for half, rows in self.data.halves.items():
            both = {
                "template": align_logits(template_logits, self.data.names(rows), self.classes),
                "focus": focus_logits[half],
            }
            for stage, logits in both.items():
                for name, value in self.stages.evaluate(logits, rows).items():
                    metrics[f"{stage}/{half}/{name}"] = value
                labels, predicted = self.data.labels(rows), logits.argmax(axis=1)
                counts = confusion_matrix(labels, predicted, len(self.classes))
                confusion[f"{stage}/{half}"] = counts.tolist()
                frames.append(self._predictions(stage, half, rows, logits))
            for name in ("macro_accuracy", "accuracy"):
                gain = metrics[f"focus/{half}/{name}"] - metrics[f"template/{half}/{name}"]
                metrics[f"gain/{half}/{name}"] = gain
        write_frame(self.out_dir / "predictions.parquet", pd.concat(frames, ignore_index=True))
        metrics["seconds"] = time.monotonic() - started
        result = TrialResult(
            metrics=metrics,
            template_key=template.key,
            template_reused=not built,
            confusion=confusion,
            classes=self.classes,
            clips={split: len(rows) for split, rows in self.splits.items()},
            skipped=self.data.waveforms.skipped,
        )
        write_json(self.out_dir / "result.json", asdict(result))
        self.report(last_record)
        return result

    def _template(self) -> tuple[Template, bool]:
        determinants = self._determinants()
        key = template_key(determinants)
        if self.trial.template.reuse:
            store, name = self.cache / "templates", key
        else:
            store, name = self.out_dir / "template", f"{key}-{os.getpid()}"

        def build(folder: Path) -> None:
            started = time.monotonic()
            records: list[Record] = []

            def on_record(record: Record) -> None:
                records.append(record)
                self._log(record)
                self.report(record)

            training = self.trial.template
            objective = CrossEntropy(training.label_smoothing)
            model = self.stages.train("template", objective, training, on_record)
            frames = []
            for split, rows in self.splits.items():
                logits = self.stages.predict(model, rows)
                frame = logits_frame(self.data.names(rows), logits, self.classes)
                frame.insert(1, "split", split)
                frames.append(frame)
            write_template(
                folder,
                weights=model.cpu().state_dict(),
                logits=pd.concat(frames, ignore_index=True),
                epochs=records,
                determinants=determinants,
                seconds=time.monotonic() - started,
            )

        return get_or_build(store, name, build)

    def _focus(
        self, template: Template, template_logits: pd.DataFrame
    ) -> tuple[dict[str, Logits], Record, dict[str, float]]:
        """Train FocusNet; its test logits, its last epoch's record, its warm classes."""
        focus = self.trial.focus
        stored = align_logits(template_logits, self.data.names(self.data.train), self.classes)
        online = None
        if focus.template_logits == "online":
            online = self.stages.build(training=False)
            online.load_state_dict(template.weights())
            online.to(self.stages.device).requires_grad_(False)
        loss = FocusNetLoss(
            focus.weight,
            focus.entropy_weight,
            focus.threshold,
            focus.temperature,
            focus.label_smoothing,
        )
        own = focus.model_dump(include={"epochs", "batch_size", "lr", "weight_decay"})
        changes = {name: value for name, value in own.items() if value is not None}
        last: Record = {}

        def on_record(record: Record) -> None:
            self._log(record)
            if record["epoch"] < record["epochs"]:
                self.report(record)
            else:
                last.update(record)

        model = self.stages.train(
            "focus",
            FocusObjective(loss, online),
            self.trial.template.model_copy(update=changes),
            on_record,
            stored,
        )
        logits = {half: self.stages.predict(model, rows) for half, rows in self.data.halves.items()}
        with replacing(self.out_dir / "weights.safetensors") as part:
            weights = {name: value.contiguous() for name, value in model.state_dict().items()}
            save_file(weights, part)
        if online is None:
            # Masks of stored logits do not change while training: count them on the clips.
            labels = torch.from_numpy(self.data.labels(self.data.train))
            warm = warm_classes(
                torch.from_numpy(stored),
                labels,
                threshold=focus.threshold,
                temperature=focus.temperature,
            )
            counts = warm.sum(dim=1)
            mean, alone = float(counts.double().mean()), float((counts == 1).double().mean())
        else:
            mean, alone = last["focus/train/warm_classes"], last["focus/train/only_label_warm"]
        return logits, last, {"focus/warm_classes": mean, "focus/only_label_warm": alone}

    def _predictions(self, stage: str, half: str, rows: Rows, logits: Logits) -> pd.DataFrame:
        clips = self.data.dataset.clips.iloc[rows]
        frame = logits_frame(self.data.names(rows), logits, self.classes)
        frame.insert(1, "stage", stage)
        frame.insert(2, "half", half)
        for place, name in enumerate(("scene", "device", "location"), start=3):
            frame.insert(place, name, clips[name].to_numpy())
        return frame

    def _log(self, record: Record) -> None:
        with self.epochs_path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _determinants(self) -> dict[str, Any]:
        """All that determines the template, and nothing else."""
        trial = self.trial
        path = weights_path(trial.model.weights, self.cache)
        return {
            "data": self.data.fingerprint,
            "clips": {split: self.data.names(rows) for split, rows in self.splits.items()},
            "seed": trial.seed,
            "features": trial.features.model_dump(),
            "augment": trial.augment.model_dump(exclude={"dir_folder"}),
            "model": trial.model.model_dump(exclude={"weights"}),
            "weights": sha256_of(path) if path else None,
            "template": trial.template.model_dump(exclude={"reuse"}),
            "compute": trial.compute.model_dump(exclude={"device"}),
            "device": self.stages.device.type,
            "versions": {
                name: version(name) for name in ("torch", "torchaudio", "hear21passt", "lightning")
            },
        }
