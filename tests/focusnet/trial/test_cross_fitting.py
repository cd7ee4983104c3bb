"""Out-of-fold template logits, against templates trained without the clips they predict."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from focusnet.config import TrialConfig
from focusnet.errors import DataError
from focusnet.pipeline import TrialResult, prepare_data, run_trial
from focusnet.store import list_stages
from focusnet.system.validation import validate
from focusnet.training.metrics import calibration_error, log_loss
from focusnet.training.second_stage import mask_statistics
from focusnet.trial.logits import align_logits
from focusnet.trial.second_stage_training import SecondStageTraining

pytestmark = pytest.mark.slow


def settings(root: Path, cache: Path, arm: str = "focusnet", **focus) -> dict:
    """A trial of seconds whose template overfits a little."""
    return {
        "seed": 0,
        "arm": arm,
        "data": {"root": str(root), "cache": str(cache)},
        "augment": {"freq_mask": 16, "patchout_freq": 2, "roll": 4000},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {
            "epochs": 6,
            "batch_size": 8,
            "optimizer": "adamw",
            "lr": 2e-3,
            "schedule": {"warmup": 1, "ramp_down_start": 5},
        },
        "focus": {"template_logits": "cross_fitted", "folds": 2, "epochs": 2, **focus},
        "compute": {"device": "cpu"},
    }


def config(root: Path, cache: Path, **focus) -> TrialConfig:
    return validate(TrialConfig, settings(root, cache, **focus))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cross_fitting") / "cache"


@pytest.fixture(scope="module")
def finished(tiny_dataset: Path, cache: Path, tmp_path_factory) -> tuple[TrialResult, Path, list]:
    """A finished trial: its result, its folder, and what it reported."""
    out = tmp_path_factory.mktemp("trial") / "out"
    reports: list[dict] = []
    return run_trial(settings(tiny_dataset, cache), out, reports.append), out, reports


@pytest.fixture(scope="module")
def folds(finished, cache: Path) -> list[Path]:
    """Folders of the templates of the first trial's folds."""
    found = [entry.folder for entry in list_stages(cache) if "fold" in entry.title]
    return sorted(found, key=lambda folder: json.loads((folder / "about.json").read_text())["fold"])


@pytest.fixture
def given_to_focus(monkeypatch) -> list[np.ndarray]:
    """The template logits that each second stage gets from now on."""
    given: list[np.ndarray] = []
    train = SecondStageTraining.run

    def spy(self, template, training_logits, **where):
        given.append(training_logits)
        return train(self, template, training_logits, **where)

    monkeypatch.setattr(SecondStageTraining, "run", spy)
    return given


def clips_of(fold: Path) -> dict[str, list[str]]:
    return json.loads((fold / "template.json").read_text())["determinants"]["clips"]


def out_of_fold(folds: list[Path]) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(fold / "logits.parquet") for fold in folds])


def test_each_training_clip_is_predicted_once_by_a_template_that_saw_none_of_its_location(
    finished, folds, tiny_dataset
):
    meta = pd.read_csv(tiny_dataset / "meta.csv", sep="\t").set_index("filename")
    listed = pd.read_csv(tiny_dataset / "evaluation_setup" / "fold1_train.csv", sep="\t")
    assert len(folds) == 2
    assert sorted(out_of_fold(folds)["filename"]) == sorted(listed["filename"])
    for fold in folds:
        seen, predicted = (clips_of(fold)[name] for name in ("train", "held_out"))
        assert pd.read_parquet(fold / "logits.parquet")["filename"].tolist() == predicted
        assert sorted([*seen, *predicted]) == sorted(listed["filename"])
        assert not set(meta["identifier"][seen]) & set(meta["identifier"][predicted])


def test_a_folds_logits_equal_those_of_a_trial_on_the_other_folds_clips_alone(
    finished, folds, tiny_dataset, tmp_path
):
    # A data set that holds the clips of the other fold for training and the rest for testing: a
    # trial on it knows nothing of folds.
    root = tmp_path / "dataset"
    shutil.copytree(tiny_dataset, root)
    meta = pd.read_csv(root / "meta.csv", sep="\t")[["filename", "scene_label"]]
    seen = meta["filename"].isin(clips_of(folds[0])["train"])
    for name, clips in (
        ("fold1_train", meta[seen]), ("split100", meta[seen]), ("fold1_evaluate", meta[~seen])
    ):  # fmt: skip
        clips.to_csv(root / "evaluation_setup" / f"{name}.csv", sep="\t", index=False)
    alone = settings(root, tmp_path / "cache", template_logits="stored")
    result = run_trial(alone, tmp_path / "out")
    stored = pd.read_parquet(
        tmp_path / "cache" / "templates" / result.template_key / "logits.parquet"
    )
    held_out = pd.read_parquet(folds[0] / "logits.parquet")
    expected = align_logits(stored, held_out["filename"], result.classes)
    found = align_logits(held_out, held_out["filename"], result.classes)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0.5, "it has learnt something"


def test_the_second_stage_and_its_statistics_are_of_the_out_of_fold_logits(
    finished, folds, tiny_dataset, cache, tmp_path, given_to_focus
):
    result, _, _ = finished
    again = run_trial(settings(tiny_dataset, cache), tmp_path / "again")
    data = prepare_data(config(tiny_dataset, cache))
    labels = data.labels(data.train)
    expected = align_logits(out_of_fold(folds), data.names(data.train), result.classes)
    np.testing.assert_array_equal(given_to_focus[0], expected)
    own = pd.read_parquet(cache / "templates" / result.template_key / "logits.parquet")
    own = align_logits(own, data.names(data.train), result.classes)
    for metrics in (result.metrics, again.metrics):
        assert metrics.items() >= mask_statistics(expected, labels, None, 2.0).items()
        for stage, logits in (("folds", expected), ("template", own)):
            right = (logits.argmax(axis=1) == labels).mean()
            assert metrics[f"{stage}/train/accuracy"] == pytest.approx(right)
            assert metrics[f"{stage}/train/log_loss"] == log_loss(logits, labels)
            assert metrics[f"{stage}/train/calibration_error"] == calibration_error(logits, labels)
    surer = result.metrics["folds/train/log_loss"] - result.metrics["template/train/log_loss"]
    assert surer > 0.05, "of clips that it was trained on"
    assert result.metrics["folds/seconds"] > 0


def test_folds_are_not_reported_and_the_gain_is_over_the_whole_template(
    finished, tiny_dataset, cache, tmp_path
):
    result, out, reports = finished
    told = [(record["stage"], record["epoch"]) for record in reports]
    assert told == [("template", e) for e in range(1, 7)] + [("focus", 1), ("focus", 2)]
    lines = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    assert lines == reports
    assert "training fold 2 of 2 on 20 of 40 clips" in (out / "trial.log").read_text()
    stored = run_trial(settings(tiny_dataset, cache, template_logits="stored"), tmp_path / "stored")
    assert stored.template_key == result.template_key
    assert stored.template_reused
    for name, value in stored.metrics.items():
        if name.startswith("template/"):
            assert result.metrics[name] == value
    gain = result.metrics["focus/report/accuracy"] - stored.metrics["template/report/accuracy"]
    assert result.metrics["gain/report/accuracy"] == gain
    assert stored.metrics["focus/select/log_loss"] != result.metrics["focus/select/log_loss"]
    assert not [name for name in stored.metrics if "folds" in name or "template/train" in name]


@pytest.mark.parametrize("arm", ["focusnet", "reference", "placebo", "distillation"])
def test_trials_of_all_arms_that_use_logits_share_the_folds(
    arm, finished, folds, tiny_dataset, cache, tmp_path, given_to_focus
):
    result, _, _ = finished
    before = {folder: folder.stat().st_mtime_ns for folder in (cache / "templates").iterdir()}
    changed = settings(tiny_dataset, cache, arm, weight=3.0, threshold=0.05, epochs=1)
    other = run_trial(changed, tmp_path / "out")
    assert other.template_key == result.template_key
    after = {folder: folder.stat().st_mtime_ns for folder in (cache / "templates").iterdir()}
    assert after == before, "something was trained"
    users = [json.loads(p.read_text())["results"] for p in folds[0].glob("uses/*.json")]
    assert str(tmp_path / "out") in users
    assert other.metrics["folds/seconds"] == result.metrics["folds/seconds"]
    data = prepare_data(config(tiny_dataset, cache))
    expected = align_logits(out_of_fold(folds), data.names(data.train), result.classes)
    moved = (given_to_focus[0] != expected).any(axis=1)
    assert moved.all() if arm == "placebo" else not moved.any()
    assert sorted(map(tuple, given_to_focus[0])) == sorted(map(tuple, expected))


def test_an_arm_without_logits_trains_no_folds_and_other_folds_are_other_templates(
    finished, tiny_dataset, cache, tmp_path
):
    def keys() -> set[str]:
        return {entry.folder.name for entry in list_stages(cache)}

    before = keys()
    plain = run_trial(settings(tiny_dataset, cache, "cross_entropy", folds=3), tmp_path / "plain")
    assert keys() == before
    assert "folds/seconds" not in plain.metrics
    three = run_trial(settings(tiny_dataset, cache, folds=3), tmp_path / "three")
    assert three.template_key == finished[0].template_key
    assert three.template_reused
    assert len(keys() - before) == 3


def test_too_few_locations_for_the_folds_are_told_before_anything_is_trained(
    tiny_dataset, cache, tmp_path
):
    with pytest.raises(DataError, match=r"focus\.folds: must be at most 20, the locations"):
        run_trial(settings(tiny_dataset, cache, folds=21), tmp_path / "out")
    assert not (tmp_path / "out").exists()
