"""One trial, both stages: template, its logits on its own training clips, FocusNet.

This is the edge where configuration objects are unpacked; everything deeper takes plain
parameters. It knows nothing of Ray: a study hands in ``report``.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from focusnet.atomic import write_json
from focusnet.augment import DeviceImpulseResponses
from focusnet.config import TemplateConfig, TrialConfig, cache_folder, validate
from focusnet.errors import ConfigError, DataError
from focusnet.loss import FocusNetLoss, warm_classes
from focusnet.mel import LogMel
from focusnet.metrics import confusion_matrix, evaluate_logits
from focusnet.model import Passt, build_model, weights_path
from focusnet.objective import CrossEntropy, FocusObjective
from focusnet.predictions import align_logits, logits_frame, write_frame
from focusnet.schedule import warmup_linear_down
from focusnet.synthetic import ensure_dataset
from focusnet.templates import Template, get_or_build, template_key, write_template
from focusnet.training import Augmentation, Objective, predict_logits, train_stage
from focusnet.trial_data import Rows, TrialData, load_trial_data
from focusnet.weights import sha256_of

Report = Callable[[dict[str, Any]], None]


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


def run_trial(
    config: TrialConfig | Mapping[str, Any], out_dir: Path | str, report: Report | None = None
) -> TrialResult:
    """Run both stages and write ``result.json``, ``epochs.jsonl``, ``predictions.parquet``.

    Args:
        config: the trial's settings, or a mapping that is validated first.
        out_dir: folder for the results; ``result.json`` appears last.
        report: called after each epoch with the stage, the epoch and its metrics. What it raises
            ends the trial. The last epoch is reported when the results are written.

    Raises:
        ConfigError, DataError, TrainingError: see ``focusnet.errors``.
    """
    trial = config if isinstance(config, TrialConfig) else validate(TrialConfig, config)
    return _Trial(trial, Path(out_dir), report or (lambda record: None)).run()


def prepare_data(trial: TrialConfig, progress: bool = True) -> TrialData:
    """Make, read and decode what a trial needs; safe to call from several processes at once."""
    cache = cache_folder(trial.data.cache)
    root = Path(trial.data.root).expanduser()
    if trial.data.root == "synthetic":
        root = ensure_dataset(cache, **trial.data.synthetic.model_dump(), progress=progress)
    folder = trial.augment.dir_folder if trial.augment.dir_probability > 0 else None
    return load_trial_data(
        root,
        subset=trial.data.subset,
        subset_seed=trial.data.subset_seed,
        sample_rate=trial.features.sample_rate,
        on_bad_clip=trial.data.on_bad_clip,
        dir_folder=Path(folder).expanduser() if folder else None,
        cache=cache,
        progress=progress,
    )


def pick_device(setting: str) -> torch.device:
    """The device of ``compute.device``; 'auto' takes a GPU where there is one."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise ConfigError("compute.device: 'cuda' needs a GPU, and torch sees none here")
    name = "cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu"
    return torch.device(name)


def derive_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose, so that no two parts of a trial share a random stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}".encode()).digest()[:8], "big") >> 1


class _Trial:
    """The state that the two stages of one trial share."""

    def __init__(self, trial: TrialConfig, out_dir: Path, report: Report) -> None:
        self.trial = trial
        self.out_dir = out_dir
        self.report = report
        torch.set_num_threads(trial.compute.threads)
        self.device = pick_device(trial.compute.device)
        self.cache = cache_folder(trial.data.cache)
        self.data = prepare_data(trial)
        self.classes = self.data.dataset.classes
        if trial.model.n_classes not in (None, len(self.classes)):
            raise ConfigError(
                f"model.n_classes: must be {len(self.classes)}, as the data set has, "
                f"received {trial.model.n_classes}"
            )
        self.mel = LogMel(
            **trial.features.model_dump(),
            fmin_aug_range=trial.augment.fmin_aug_range,
            fmax_aug_range=trial.augment.fmax_aug_range,
            freq_mask=trial.augment.freq_mask,
            time_mask=trial.augment.time_mask,
        )
        self._check_lengths()
        out_dir.mkdir(parents=True, exist_ok=True)
        self.epochs_path = out_dir / "epochs.jsonl"
        self.epochs_path.write_text("")

    def run(self) -> TrialResult:
        started = time.monotonic()
        template, built = self._template()
        if not built:
            for record in template.epochs():
                self._log(record)
        stored = template.logits()
        focus_started = time.monotonic()
        focus_logits, held, warm = self._focus(template, stored)
        metrics: dict[str, float] = {}
        confusion: dict[str, list[list[int]]] = {}
        frames: list[pd.DataFrame] = []
        for half, rows in self.data.halves.items():
            template_logits = align_logits(stored, self.data.names(rows), self.classes)
            for stage, logits in (("template", template_logits), ("focus", focus_logits[half])):
                for name, value in self._evaluate(logits, rows).items():
                    metrics[f"{stage}/{half}/{name}"] = value
                labels = self.data.labels(rows)
                counts = confusion_matrix(labels, logits.argmax(1), len(self.classes))
                confusion[f"{stage}/{half}"] = counts.tolist()
                frames.append(self._predictions(stage, half, rows, logits))
            for name in ("macro_accuracy", "accuracy"):
                gain = metrics[f"focus/{half}/{name}"] - metrics[f"template/{half}/{name}"]
                metrics[f"gain/{half}/{name}"] = gain
        finished = time.monotonic()
        metrics |= warm
        metrics["template/seconds"] = template.seconds()
        metrics["focus/seconds"] = finished - focus_started
        metrics["seconds"] = finished - started
        counts_by_split = {"train": self.data.train, **self.data.halves}
        result = TrialResult(
            metrics=metrics,
            template_key=template.key,
            template_reused=not built,
            confusion=confusion,
            classes=self.classes,
            clips={split: len(rows) for split, rows in counts_by_split.items()},
            skipped=self.data.waveforms.skipped,
        )
        write_frame(self.out_dir / "predictions.parquet", pd.concat(frames, ignore_index=True))
        write_json(self.out_dir / "result.json", asdict(result))
        self.report(held)
        return result

    def _template(self) -> tuple[Template, bool]:
        determinants = self._determinants()
        key = template_key(determinants)

        def build(folder: Path) -> None:
            records: list[dict[str, Any]] = []

            def on_epoch(record: dict[str, Any]) -> None:
                records.append(record)
                self._log(record)
                self.report(record)

            started = time.monotonic()
            model = self._train(
                "template",
                CrossEntropy(self.trial.template.label_smoothing),
                self.trial.template,
                on_epoch,
            )
            splits = {"train": self.data.train, **self.data.halves}
            frames = []
            for split, rows in splits.items():
                logits = self._predict(model, rows)
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

        if self.trial.template.reuse:
            return get_or_build(self.cache / "templates", key, build)
        return get_or_build(self.out_dir / "template", f"{key}-{os.getpid()}", build)

    def _focus(
        self, template: Template, stored: pd.DataFrame
    ) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, float]]:
        """Train FocusNet; its test logits, its last epoch's record, its warm classes."""
        focus = self.trial.focus
        train_logits = align_logits(stored, self.data.names(self.data.train), self.classes)
        online = None
        if focus.template_logits == "online":
            online = self._build(patchout=False)
            online.load_state_dict(template.weights())
            online.to(self.device).requires_grad_(False)
        loss = FocusNetLoss(
            weight=focus.weight,
            entropy_weight=focus.entropy_weight,
            threshold=focus.threshold,
            temperature=focus.temperature,
            label_smoothing=focus.label_smoothing,
        )
        own = {"epochs", "batch_size", "lr", "weight_decay"}
        overrides = {k: v for k, v in focus.model_dump(include=own).items() if v is not None}
        training = self.trial.template.model_copy(update=overrides)
        held: dict[str, Any] = {}

        def on_epoch(record: dict[str, Any]) -> None:
            self._log(record)
            if record["epoch"] < record["epochs"]:
                self.report(record)
            else:
                held.update(record)

        model = self._train("focus", FocusObjective(loss, online), training, on_epoch, train_logits)
        test_logits = {half: self._predict(model, rows) for half, rows in self.data.halves.items()}
        warm = {name: held[f"focus/train/{name}"] for name in ("warm_classes", "only_label_warm")}
        if online is None:
            # The masks are the same in every epoch: count them on the clips, exactly.
            counts = warm_classes(
                torch.from_numpy(train_logits),
                torch.from_numpy(self.data.labels(self.data.train)),
                threshold=focus.threshold,
                temperature=focus.temperature,
            ).sum(dim=1)
            warm["warm_classes"] = float(counts.double().mean())
            warm["only_label_warm"] = float((counts == 1).double().mean())
        return test_logits, held, {f"focus/{name}": value for name, value in warm.items()}

    def _train(
        self,
        stage: str,
        objective: Objective,
        training: TemplateConfig,
        on_record: Report,
        template_logits: np.ndarray | None = None,
    ) -> Passt:
        """Train a fresh PaSST and hand a record to ``on_record`` after each epoch."""
        trial = self.trial
        generator = torch.Generator().manual_seed(derive_seed(trial.seed, f"{stage}/augment"))
        order = torch.Generator().manual_seed(derive_seed(trial.seed, f"{stage}/order"))
        model = self._build(patchout=True)
        model.generator = generator
        started = time.monotonic()
        select = self.data.halves["select"]
        best: dict[str, Any] = {"score": -1.0, "state": None}

        def on_epoch(epoch: int, means: dict[str, float]) -> None:
            metrics = self._evaluate(self._predict(model, select), select)
            score = metrics["macro_accuracy"]
            if training.keep == "best" and score > best["score"]:
                state = {name: value.clone() for name, value in model.state_dict().items()}
                best.update(score=score, state=state)
            record: dict[str, Any] = {"stage": stage, "epoch": epoch, "epochs": training.epochs}
            record |= {f"{stage}/train/{name}": value for name, value in means.items()}
            record |= {f"{stage}/select/{name}": value for name, value in metrics.items()}
            record["seconds"] = time.monotonic() - started
            on_record(record)

        responses = None
        if self.data.responses is not None:
            samples = self.data.waveforms.samples.shape[1]
            responses = DeviceImpulseResponses(self.data.responses, samples)
        train_stage(
            model,
            self.mel,
            objective,
            self.data.batches(self.data.train, training.batch_size, order, template_logits),
            Augmentation(
                responses=responses,
                dir_probability=trial.augment.dir_probability,
                roll_samples=trial.augment.roll,
                mixstyle_probability=trial.augment.mixstyle_probability,
                mixstyle_alpha=trial.augment.mixstyle_alpha,
            ),
            generator,
            epochs=training.epochs,
            optimizer=training.optimizer,
            lr=training.lr,
            weight_decay=training.weight_decay,
            lr_factor=warmup_linear_down(**training.schedule.model_dump()),
            device=self.device,
            precision=trial.compute.precision,
            on_epoch=on_epoch,
        )
        if best["state"] is not None:
            model.load_state_dict(best["state"])
        return model

    def _build(self, patchout: bool) -> Passt:
        augment = self.trial.augment
        return build_model(
            self.trial.model,
            len(self.classes),
            n_mels=self.trial.features.n_mels,
            patchout_freq=augment.patchout_freq if patchout else 0,
            patchout_time=augment.patchout_time if patchout else 0,
            time_offset=augment.time_offset and patchout,
            seed=derive_seed(self.trial.seed, "model"),
            cache=self.cache,
        )

    def _predict(self, model: Passt, rows: Rows) -> np.ndarray:
        compute = self.trial.compute
        batches = self.data.batches(rows, compute.eval_batch_size)
        return predict_logits(
            model, self.mel, batches, device=self.device, precision=compute.precision
        )

    def _evaluate(self, logits: np.ndarray, rows: Rows) -> dict[str, float]:
        return evaluate_logits(
            logits, self.data.labels(rows), self.data.devices(rows), self.classes
        )

    def _predictions(self, stage: str, half: str, rows: Rows, logits: np.ndarray) -> pd.DataFrame:
        frame = logits_frame(self.data.names(rows), logits, self.classes)
        clips = self.data.dataset.clips.iloc[rows]
        about = {"stage": stage, "half": half}
        about |= {name: clips[name].to_numpy() for name in ("scene", "device", "location")}
        for place, (name, values) in enumerate(about.items(), start=1):
            frame.insert(place, name, values)
        return frame

    def _log(self, record: dict[str, Any]) -> None:
        with self.epochs_path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _determinants(self) -> dict[str, Any]:
        """All that determines the template, and nothing else."""
        trial = self.trial
        path = weights_path(trial.model.weights, self.cache)
        if path is not None and not path.is_file():
            raise DataError(f"model.weights: {path} is not a file")
        return {
            "data": self.data.fingerprint,
            "train": self.data.names(self.data.train),
            "halves": {half: self.data.names(rows) for half, rows in self.data.halves.items()},
            "seed": trial.seed,
            "features": trial.features.model_dump(),
            "augment": trial.augment.model_dump(exclude={"dir_folder"}),
            "model": trial.model.model_dump(exclude={"weights"}),
            "weights": sha256_of(path) if path else None,
            "template": trial.template.model_dump(exclude={"reuse"}),
            "compute": trial.compute.model_dump(exclude={"device"}),
            "device": self.device.type,
            "versions": {
                name: version(name) for name in ("torch", "torchaudio", "hear21passt", "lightning")
            },
        }

    def _check_lengths(self) -> None:
        """Say in one message which settings the clips' length rules out."""
        model, augment = self.trial.model, self.trial.augment
        samples = self.data.waveforms.samples.shape[1]
        frames = self.mel.frames(samples - 1)  # pre-emphasis takes a sample
        problems = []
        if frames > model.max_frames:
            problems.append(
                f"model.max_frames: clips have {frames} frames, received {model.max_frames}"
            )
        stride = model.stride or (10 if model.size == "passt_s" else 16)
        for axis, size, drop in (
            ("freq", self.trial.features.n_mels, augment.patchout_freq),
            ("time", frames, augment.patchout_time),
        ):
            patches = (size - 16) // stride + 1
            if drop >= patches:
                problems.append(
                    f"augment.patchout_{axis}: must leave a patch of {patches}, received {drop}"
                )
        if problems:
            raise ConfigError(problems)
