"""A trial from audio files to results, checked against recomputation by other means."""

import json
import re
import shutil
import warnings
from pathlib import Path

import hear21passt.models.passt as hear
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from focusnet.arms import ARMS, STUDENT_ONLY
from focusnet.config import TrialConfig
from focusnet.errors import ConfigError, DataError, TrainingError
from focusnet.loss import confusion_mask
from focusnet.mel import LogMel
from focusnet.model.passt import build_model
from focusnet.pipeline import TrialResult, prepare_data, run_trial
from focusnet.system.validation import validate
from focusnet.system.yaml_file import read_yaml
from focusnet.trial.logits import align_logits

pytestmark = pytest.mark.slow


def settings(root: Path, **changes) -> dict:
    """A trial that takes seconds; ``changes`` are ``section__key=value``."""
    trial: dict = {
        "seed": 0,
        "data": {"root": str(root)},
        "augment": {"freq_mask": 16, "patchout_freq": 2, "roll": 4000},
        "model": {"size": "tiny", "weights": "none", "max_frames": 200},
        "template": {"epochs": 3, "batch_size": 8, "optimizer": "adamw", "lr": 1e-3},
        "focus": {},
        "compute": {"device": "cpu"},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        if key:
            trial[section][key] = value
        else:
            trial[section] = value
    return trial


def without_seconds(result: TrialResult) -> dict[str, float]:
    return {name: v for name, v in result.metrics.items() if not name.endswith("seconds")}


@pytest.fixture(scope="module")
def finished(tiny_dataset: Path, tmp_path_factory):
    """One finished trial: its result, its folder, and what it reported when."""
    out = tmp_path_factory.mktemp("trial") / "out"
    reports: list[tuple[dict, bool]] = []
    result = run_trial(
        settings(tiny_dataset),
        out,
        lambda record: reports.append((record, (out / "result.json").exists())),
    )
    return result, out, reports


def test_metrics_equal_those_recomputed_from_the_predictions(finished):
    result, out, _ = finished
    predictions = pd.read_parquet(out / "predictions.parquet")
    logit_columns = [f"logit/{scene}" for scene in result.classes]
    predictions["guess"] = np.array(result.classes)[
        predictions[logit_columns].to_numpy().argmax(axis=1)
    ]
    predictions["right"] = predictions["guess"] == predictions["scene"]
    for (stage, half), rows in predictions.groupby(["stage", "half"]):
        by_scene = rows.groupby("scene")["right"].mean()
        name = f"{stage}/{half}"
        assert result.metrics[f"{name}/macro_accuracy"] == pytest.approx(by_scene.mean())
        assert result.metrics[f"{name}/accuracy"] == pytest.approx(rows["right"].mean())
        assert result.metrics[f"{name}/class/bus"] == pytest.approx(by_scene["bus"])
        table = pd.crosstab(rows["scene"], rows["guess"]).reindex(
            index=result.classes, columns=result.classes, fill_value=0
        )
        assert table.to_numpy().tolist() == result.confusion[name]
    gain = result.metrics["focus/report/accuracy"] - result.metrics["template/report/accuracy"]
    assert result.metrics["gain/report/accuracy"] == pytest.approx(gain)
    assert json.loads((out / "result.json").read_text())["metrics"] == result.metrics


def test_halves_hold_different_locations_and_together_the_whole_test_split(finished, tiny_dataset):
    result, out, _ = finished
    focus = pd.read_parquet(out / "predictions.parquet").query("stage == 'focus'")
    select, report = (set(focus.query("half == @h")["location"]) for h in ("select", "report"))
    assert not select & report
    listed = pd.read_csv(tiny_dataset / "evaluation_setup" / "fold1_evaluate.csv", sep="\t")
    assert sorted(focus["filename"]) == sorted(listed["filename"])
    assert result.clips["train"] == 40


def test_stored_logits_are_those_of_the_template_on_the_clean_training_clips(
    finished, own_cache: Path, tiny_dataset: Path
):
    result, _, _ = finished
    folder = own_cache / "templates" / result.template_key
    stored = pd.read_parquet(folder / "logits.parquet").query("split == 'train'")
    audio = [soundfile.read(tiny_dataset / name)[0] for name in stored["filename"]]
    template = hear.PaSST(
        img_size=(128, 200), stride=16, num_classes=10, embed_dim=64, depth=2, num_heads=2,
        distilled=True,
    ).eval()  # fmt: skip
    template.load_state_dict(load_file(folder / "weights.safetensors"))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        spec = LogMel(sample_rate=44_100).eval()(torch.from_numpy(np.stack(audio)).float())
        expected = template(spec.unsqueeze(1))[0].numpy()
    columns = [f"logit/{scene}" for scene in result.classes]
    np.testing.assert_allclose(stored[columns].to_numpy(), expected, atol=1e-4)


def test_weights_and_configuration_are_enough_to_build_the_trained_model(finished, tmp_path):
    result, out, _ = finished
    trial = validate(TrialConfig, read_yaml(out / "config.yaml"))
    model = build_model(
        trial.model.model_copy(update={"weights": str(out / "weights.safetensors")}),
        len(result.classes),
    ).eval()
    data = prepare_data(trial, progress=False)
    rows = data.halves["report"][:8]
    mel = LogMel(**trial.features.model_dump()).eval()
    with torch.inference_mode():
        waveforms = torch.from_numpy(data.waveforms.samples[data.waveforms.position[rows]])
        logits = model(mel(waveforms * data.waveforms.scale).unsqueeze(1))[0].numpy()
    stored = pd.read_parquet(out / "predictions.parquet").query("stage == 'focus'")
    expected = align_logits(stored, data.names(rows), result.classes)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_warm_classes_equal_those_of_the_masks_of_the_stored_logits(
    finished, own_cache: Path, tiny_dataset: Path
):
    result, _, _ = finished
    stored = pd.read_parquet(own_cache / "templates" / result.template_key / "logits.parquet")
    stored = stored.query("split == 'train'").set_index("filename")
    meta = pd.read_csv(tiny_dataset / "meta.csv", sep="\t").set_index("filename")
    scenes = meta.loc[stored.index, "scene_label"]
    labels = torch.tensor([result.classes.index(scene) for scene in scenes])
    logits = stored[[f"logit/{scene}" for scene in result.classes]].to_numpy().copy()
    counts = (confusion_mask(torch.from_numpy(logits), labels) > 0).sum(1).double()
    assert result.metrics["focus/warm_classes"] == pytest.approx(counts.mean().item())
    assert result.metrics["focus/only_label_warm"] == pytest.approx((counts == 1).double().mean())


def test_every_epoch_is_reported_and_the_last_one_after_the_results_are_written(finished):
    result, out, reports = finished
    assert not result.template_reused
    told = [(record["stage"], record["epoch"], written) for record, written in reports]
    assert told == [
        ("template", 1, False), ("template", 2, False), ("template", 3, False),
        ("focus", 1, False), ("focus", 2, False), ("focus", 3, True),
    ]  # fmt: skip
    last = reports[-1][0]
    assert last["focus/select/macro_accuracy"] == result.metrics["focus/select/macro_accuracy"]
    lines = [json.loads(line) for line in (out / "epochs.jsonl").read_text().splitlines()]
    assert lines == [record for record, _ in reports]


def test_the_log_has_settings_epochs_and_results_and_the_traceback_of_a_failure(
    finished, tiny_dataset, tmp_path
):
    result, out, _ = finished
    log = (out / "trial.log").read_text()
    assert "arm focusnet, seed 0, subset 100 % (train 40, select 20, report 20 clips)" in log
    assert "device cpu, precision fp32" in log
    for epoch in (1, 2, 3):
        assert f" template epoch {epoch}/3: loss " in log
        assert f" focus epoch {epoch}/3: loss " in log
    gain = 100 * result.metrics["gain/report/macro_accuracy"]
    assert f"gain {gain:+.1f}" in log.splitlines()[-1]
    tmp_path.joinpath("trial.log").write_text("of an earlier process\n")
    with pytest.raises(TrainingError):
        run_trial(settings(tiny_dataset, template__lr=1e30), tmp_path)
    log = (tmp_path / "trial.log").read_text()
    assert log.startswith("of an earlier process\n")
    assert "the trial failed\nTraceback (most recent call last):" in log
    assert "TrainingError: the training loss became nan" in log


def test_focus_settings_share_the_template_and_change_the_result(finished, tiny_dataset, tmp_path):
    first, _, _ = finished
    reports: list[dict] = []
    changed = settings(tiny_dataset, focus__weight=8.0, focus__threshold=0.02)
    second = run_trial(changed, tmp_path / "out", reports.append)
    assert second.template_reused
    assert second.template_key == first.template_key
    assert {record["stage"] for record in reports} == {"focus"}, "trained once, reported once"
    for name, value in first.metrics.items():
        if name.startswith("template/"):
            assert second.metrics[name] == value, name
    assert second.metrics["focus/select/log_loss"] != first.metrics["focus/select/log_loss"]
    assert second.metrics["focus/warm_classes"] > first.metrics["focus/warm_classes"]
    epochs = (tmp_path / "out" / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in epochs] == ["template"] * 3 + ["focus"] * 3


def test_the_same_seed_gives_the_same_metrics_also_without_the_store(
    finished, tiny_dataset, tmp_path
):
    again = run_trial(settings(tiny_dataset, template__reuse=False), tmp_path / "again")
    assert not again.template_reused
    assert without_seconds(again) == without_seconds(finished[0])
    other = run_trial(settings(tiny_dataset, seed=1), tmp_path / "other")
    assert other.template_key != finished[0].template_key
    assert without_seconds(other) != without_seconds(finished[0])


def test_what_determines_the_template_changes_its_key(finished, tiny_dataset, tmp_path):
    for number, change in enumerate(
        ({"template__lr": 2e-3}, {"augment__roll": 10}, {"data__subset": 50})
    ):
        quick = {"template__epochs": 1} | change
        result = run_trial(settings(tiny_dataset, **quick), tmp_path / str(number))
        assert result.template_key != finished[0].template_key
        assert not result.template_reused


def test_online_logits_come_from_the_augmented_batch(finished, tiny_dataset, tmp_path):
    online = run_trial(settings(tiny_dataset, focus__template_logits="online"), tmp_path)
    assert online.template_reused
    stored = finished[0].metrics
    assert online.metrics["focus/select/log_loss"] != stored["focus/select/log_loss"]
    assert 1 <= online.metrics["focus/warm_classes"] <= 10
    assert online.metrics["focus/warm_classes"] != stored["focus/warm_classes"]


def test_keeping_the_best_epoch_ends_with_the_best_select_accuracy(tiny_dataset, tmp_path):
    best = settings(tiny_dataset, template__keep="best", template__epochs=6, template__lr=5e-3)
    result = run_trial(best, tmp_path / "out")
    epochs = [json.loads(x) for x in (tmp_path / "out" / "epochs.jsonl").read_text().splitlines()]
    for stage in ("template", "focus"):
        name = f"{stage}/select/macro_accuracy"
        seen = [record[name] for record in epochs if record["stage"] == stage]
        assert result.metrics[name] == max(seen)


def test_a_stop_in_report_ends_the_trial_and_leaves_no_result(tiny_dataset, tmp_path):
    def stop(record):
        if record["stage"] == "focus":
            raise SystemExit

    with pytest.raises(SystemExit):
        run_trial(settings(tiny_dataset), tmp_path / "out", stop)
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_non_finite_loss_tells_the_epoch_and_what_may_help(tiny_dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"became nan in epoch \d; a smaller learning rate"):
        run_trial(settings(tiny_dataset, template__lr=1e30), tmp_path)


def test_settings_that_the_clips_rule_out_are_told_together(tiny_dataset, tmp_path):
    wrong = settings(
        tiny_dataset, model__max_frames=64, model__n_classes=7, augment__patchout_freq=8
    )
    with pytest.raises(ConfigError) as caught:
        run_trial(wrong, tmp_path)
    assert caught.value.problems == [
        "model.n_classes: must be 10, as the data set has, received 7",
        "model.max_frames: must be at least 138, the frames of a clip, received 64",
        "augment.patchout_freq: must be less than 8, the patches along that axis, received 8",
    ]


def test_a_missing_data_set_and_missing_weights_are_told_together(tmp_path):
    trial = settings(tmp_path / "nowhere", model__weights=str(tmp_path / "lost.pt"))
    with pytest.raises(DataError, match=r"(?s)nowhere.*lost\.pt is not a file"):
        run_trial(trial, tmp_path / "out")


@pytest.mark.esc10
def test_real_recordings_with_impulse_responses_at_another_rate(
    esc10_root: Path, impulse_responses: Path, tmp_path: Path
):
    trial = settings(
        esc10_root,
        data__subset=10,
        augment__dir_folder=str(impulse_responses),
        features={"sample_rate": 32_000},
        template__epochs=1,
    )
    result = run_trial(trial, tmp_path / "out")
    assert result.classes[0] == "baby_cry"
    assert result.clips["train"] > 50
    assert {"group/real", "group/seen", "group/unseen"} <= {
        name.removeprefix("focus/report/") for name in result.metrics
    }


def test_skipped_clips_are_in_the_result_and_must_leave_every_scene_a_clip(
    tiny_dataset: Path, tmp_path: Path
):
    root = tmp_path / "dataset"
    shutil.copytree(tiny_dataset, root)
    listed = pd.read_csv(root / "evaluation_setup" / "fold1_train.csv", sep="\t")
    bus = listed["filename"][listed["scene_label"] == "bus"].tolist()
    (root / bus[0]).write_bytes(b"not audio")
    with pytest.raises(DataError, match=re.escape(bus[0])):
        run_trial(settings(root, template__epochs=1), tmp_path / "refused")
    skipping = settings(root, template__epochs=1, data__on_bad_clip="skip")
    result = run_trial(skipping, tmp_path / "out")
    assert [line.partition(":")[0] for line in result.skipped] == [bus[0]]
    assert result.clips["train"] == 39
    half = dict(settings(root, template__epochs=1, data__on_bad_clip="skip", data__subset=50))
    official = pd.read_csv(root / "evaluation_setup" / "split50.csv", sep="\t")["filename"]
    for name in official[official.str.contains("/bus-")]:
        (root / name).write_bytes(b"not audio")
    with pytest.raises(DataError, match="the 50 % subset has no clip of 'bus'"):
        run_trial(half, tmp_path / "none")


@pytest.mark.parametrize("arm", sorted(set(ARMS) - {"focusnet", "reference"} - set(STUDENT_ONLY)))
def test_every_control_shares_the_template_and_trains_its_own_second_stage(
    arm, finished, tiny_dataset, tmp_path
):
    focusnet, _, _ = finished
    control = run_trial(settings(tiny_dataset, arm=arm), tmp_path / arm)
    assert control.template_key == focusnet.template_key
    assert control.template_reused
    mine, theirs = (r.metrics["focus/select/log_loss"] for r in (control, focusnet))
    assert mine != theirs
    assert ("focus/warm_classes" in control.metrics) == (arm == "placebo")
    if arm == "placebo":
        same = focusnet.metrics["focus/warm_classes"]
        assert control.metrics["focus/warm_classes"] == pytest.approx(same)


def test_the_reference_is_focusnet_with_the_papers_settings_also_in_its_statistics(
    finished, tiny_dataset, tmp_path
):
    focusnet, _, _ = finished  # its settings are the paper's
    searched = {"weight": 8.0, "threshold": 0.02, "temperature": 4.0, "label_smoothing": 0.0}
    reference = run_trial(settings(tiny_dataset, arm="reference", focus=searched), tmp_path)
    assert reference.template_reused
    assert without_seconds(reference) == without_seconds(focusnet)
    assert read_yaml(tmp_path / "config.yaml")["focus"]["weight"] == 8.0, "as it was asked for"
