"""A trial's third stage: what teaches the student, what is shared, what it leaves."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from killed_processes import STUDENT, settings
from safetensors.torch import load_file

from focusnet.config import StudentConfig, TrialConfig
from focusnet.errors import ConfigError
from focusnet.pipeline import run_trial
from focusnet.student.network import build_student
from focusnet.student.stages import InPrecision, StudentStages
from focusnet.student.training import StudentTraining, student_schedule
from focusnet.system.yaml_file import read_yaml
from focusnet.trial.data import prepare_data


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tiny_dataset, cache, tmp_path):
    """Runs a trial with a student; returns its result, its folder and what it reported."""
    count = 0

    def start(*, arm="focusnet", seed=0, student=None, **sections):
        nonlocal count
        count += 1
        out, records = tmp_path / str(count), []
        trial = settings(tiny_dataset, cache) | {"arm": arm, "seed": seed}
        trial["template"] = trial["template"] | {"epochs": 2, "keep": "last"}
        trial["student"] = STUDENT | (student or {})
        for name, section in sections.items():
            trial[name] = trial.get(name, {}) | section
        result = run_trial(trial, out, records.append)
        return result, out, [(record["stage"], record["epoch"]) for record in records]

    return start


def lines(out: Path) -> list[tuple[str, int]]:
    records = map(json.loads, (out / "epochs.jsonl").read_text().splitlines())
    return [(record["stage"], record["epoch"]) for record in records]


def test_a_trial_trains_three_stages_and_reports_each_epoch_once(run):
    result, out, reported = run(template={"lr": 4e-3})
    stages = ("template", "focus", "student")
    assert reported == lines(out) == [(stage, epoch) for stage in stages for epoch in (1, 2)]
    for half in ("select", "report"):
        for stage in stages:
            assert 0 <= result.metrics[f"{stage}/{half}/macro_accuracy"] <= 1
            assert f"{stage}/{half}/group/unseen" in result.metrics
    assert result.metrics["student/parameters"] == 5722
    assert result.metrics["student/bytes"] == 2 * 5722
    predictions = pd.read_parquet(out / "predictions.parquet")
    assert set(predictions["stage"]) == set(stages)
    assert not (out / "checkpoint.pt").exists()
    assert result.metrics["focus/warm_classes"] >= 1
    assert (out / "weights.safetensors").is_file(), "this trial has trained the second stage"


def test_its_weights_are_the_students_and_give_the_predictions_in_half_precision(
    run, tiny_dataset, cache
):
    _, out, _ = run()
    network = build_student(8, n_classes=10)
    network.load_state_dict(load_file(out / "student.safetensors"))
    trial = TrialConfig.model_validate(read_yaml(out / "config.yaml"))
    data = prepare_data(trial).student
    stages = StudentStages(trial, trial.student, data)
    rows = data.halves["report"]
    found = stages.predict(network, rows)
    stored = pd.read_parquet(out / "predictions.parquet").query(
        "stage == 'student' and half == 'report'"
    )
    columns = [column for column in stored if column.startswith("logit/")]
    assert np.array_equal(found, stored[columns].to_numpy(np.float32))
    halved = {name: value.half().float() for name, value in network.state_dict().items()}
    rounded = build_student(8, n_classes=10).eval()
    rounded.load_state_dict({n: v if v.ndim else v.long() for n, v in halved.items()})
    stages.mel.eval()
    batch = next(iter(data.batches(rows, len(rows))))
    with torch.no_grad():
        expected = rounded(stages.mel(batch.clips.gather()).unsqueeze(1).half().float())
    assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_half_precision_differs_little_from_single(run):
    network = build_student(8, generator=torch.Generator().manual_seed(0)).eval()
    spec = torch.randn(4, 1, 64, 65, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = network(spec)
        on_cpu = InPrecision(network, "fp16", on_cpu=True)(spec)
        true_half = InPrecision(network, "fp16", on_cpu=False)(spec).float()
    assert 0 < float((on_cpu - exact).abs().max()) < 0.02
    assert float((true_half - exact).abs().max()) < 0.05
    assert torch.equal(InPrecision(network, "fp32", on_cpu=True)(spec), exact)


def test_trials_that_differ_in_the_student_only_share_the_second_stage(run):
    first, _, _ = run()
    other, out, reported = run(student={"distillation": {"temperature": 4.0}})
    assert other.teacher_key == first.teacher_key
    assert other.teacher_reused
    assert not other.student_reused
    assert other.student_key != first.student_key
    assert reported == [("student", 1), ("student", 2)]
    assert [stage for stage, _ in lines(out)] == ["template"] * 2 + ["focus"] * 2 + ["student"] * 2
    assert other.metrics["focus/report/accuracy"] == first.metrics["focus/report/accuracy"]
    assert other.metrics["focus/warm_classes"] == first.metrics["focus/warm_classes"]
    assert not (out / "weights.safetensors").exists(), "the store keeps no weights of teachers"


def test_an_equal_student_is_not_trained_twice_and_its_last_epoch_is_reported(run):
    first, _, _ = run()
    again, out, reported = run(student={"limits": None})
    assert again.student_reused
    assert again.student_key == first.student_key
    assert reported == [("student", 2)]
    assert (out / "student.safetensors").is_file()


def test_the_template_teaches_where_there_is_no_second_stage(run):
    focus, _, _ = run()
    taught, out, _ = run(arm="template")
    assert taught.template_key == focus.template_key
    assert taught.teacher_key is None
    assert {stage for stage, _ in lines(out)} == {"template", "student"}
    assert not [name for name in taught.metrics if name.startswith(("focus/", "gain/"))]
    assert taught.student_key != focus.student_key


def test_without_a_teacher_nothing_of_one_is_trained_or_matters(run):
    first, _, reported = run(arm="labels")
    assert reported == [("student", 1), ("student", 2)]
    assert first.template_key is None
    assert {name.partition("/")[0] for name in first.metrics} == {"student", "seconds"}
    other, _, _ = run(
        arm="labels",
        template={"lr": 1e-2},
        features={"sample_rate": 22_050},
        focus={"weight": 3.0},
        student={"distillation": {"temperature": 7.0}},
    )
    assert other.student_reused


def test_the_reference_shares_the_teacher_of_focusnet_with_the_same_settings(run):
    focus, _, _ = run()
    reference, _, _ = run(arm="reference", focus={"weight": 9.0})
    assert reference.teacher_key == focus.teacher_key
    assert reference.student_key == focus.student_key


def test_an_ensemble_teaches_with_the_mean_logits_of_its_seeds(run, cache, monkeypatch):
    taught = []
    train = StudentTraining.run

    def spy(self, teaching, before):
        taught.append(teaching)
        return train(self, teaching, before)

    monkeypatch.setattr(StudentTraining, "run", spy)
    both = {"teachers": "ensemble", "teacher_seeds": [5, 6]}
    five, _, reported = run(seed=5, student=both)
    own = [run(seed=seed) for seed in (5, 6)]
    mean, single = taught[0], taught[1:]
    assert mean.keys == [result.teacher_key for result, _, _ in own]
    expected = (single[0].logits.astype(np.float64) + single[1].logits) / 2
    assert np.array_equal(mean.logits, expected.astype(np.float32))
    assert [stage for stage, _ in reported] == ["template"] * 2 + ["focus"] * 2 + ["student"] * 2
    assert own[1][0].teacher_reused, "the ensemble's trial has trained it"
    six, _, _ = run(seed=6, student=both)
    assert six.student_key != five.student_key
    template = run(arm="template", seed=5, student=both)[0]
    assert taught[-1].keys == [own[0][0].template_key, own[1][0].template_key]
    assert template.student_key != five.student_key


def test_no_trial_without_a_student_says_anything_of_one(tiny_dataset, cache, tmp_path):
    trial = settings(tiny_dataset, cache)
    run_trial(trial, tmp_path / "out")
    assert "student" not in (tmp_path / "out" / "config.yaml").read_text()
    assert "student" not in (tmp_path / "out" / "result.json").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": {"base": 48}},
            r"student\.limits: must be at most 128 kB and 30 million MACs, received a network of "
            r"\d+\.\d kB in fp16 and \d+\.\d\d million MACs \(student\.network: base 48",
        ),
        ({"precision": "fp32", "network": {"base": 32}}, r"244\.6 kB in fp32"),
        (
            {"features": {"n_mels": 256, "n_fft": 512, "win_length": 512}},
            r"student\.features\.n_mels: \d+ of the 256 mel filters are empty at n_fft 512",
        ),
        (
            {"features": {"n_fft": 65_536, "sample_rate": 16_000}},
            r"student\.features\.n_fft: half of it must be shorter than a clip of 16000 samples",
        ),
    ],
)
def test_a_student_that_cannot_work_or_is_too_large_is_refused_before_anything_is_trained(
    changes, message, tiny_dataset, cache, tmp_path
):
    trial = settings(tiny_dataset, cache)
    trial["student"] = StudentConfig().model_dump() | changes
    with pytest.raises(ConfigError, match=message):
        run_trial(trial, tmp_path / "out")
    assert not (tmp_path / "out" / "epochs.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arm": "template"}, "arm 'template' has no second stage and trains a student only"),
        ({"student": {"network": {"base": 10}}}, r"student\.network\.base"),
        (
            {"student": {"augment": {"dir_probability": 0.6}}},
            "needs impulse responses in augment.dir_folder, received 0.6",
        ),
        ({"student": {"teacher_seeds": [1, 2]}}, "teacher_seeds needs teachers: ensemble"),
        (
            {"student": {"teachers": "ensemble", "teacher_seeds": [1, 1]}},
            r"teacher_seeds must differ, received \[1, 1\]",
        ),
        ({"student": {"distillation": {"label_weight": 0.0, "teacher_weight": 0.0}}}, "both be 0"),
    ],
)
def test_wrong_settings_of_a_student_are_one_message(changes, message, tiny_dataset, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run_trial({"data": {"root": str(tiny_dataset)}} | changes, tmp_path)


@pytest.mark.parametrize(
    ("share", "steps", "warmup"), [(0.0244, 81_900, 1998), (0.0244, 4100, 100)]
)
def test_the_warm_up_follows_the_length_of_the_training(share, steps, warmup):
    factor, by_step = student_schedule(StudentConfig(), steps)
    assert by_step
    assert factor(warmup - 1) < 1
    assert factor(warmup) == 1
    assert factor(steps - 1) < 1e-4


def test_the_ramp_is_the_schedule_of_cp_jku_by_epoch():
    settings = StudentConfig.model_validate({"schedule": {"form": "ramp"}})
    factor, by_step = student_schedule(settings, 1000)
    assert not by_step
    assert factor(0) == pytest.approx(np.exp(-5 * (1 - 0.5 / 14) ** 2))
    assert factor(50) == 1
    assert factor(50 + 42) == pytest.approx((1 + 0.005) / 2)
    assert factor(149) == 0.005
