"""The plan estimates time and memory."""

import json
from dataclasses import replace

import pytest
import torch

from focusnet.config import TrialConfig
from focusnet.errors import GpuMemoryError
from focusnet.system.units import rough_time
from focusnet.training.speed import Speed, measure_speed
from study.plan import duration
from study.plan.data_size import DataSize
from study.plan.duration import describe_duration
from study.plan.work import Work, study_work

GPU_SPEED = Speed("cuda", 1.0, 10.0, 9_200_000_000, device_memory=80 * 10**9, warm_up=2.5)
DATA = DataSize(train=1000, test=400, scenes=10)


def test_the_work_of_a_study_counts_each_template_once(make_space):
    # 6 epochs. A template on 25 %: 6 * 250 clips trained; 6 * 200 predicted to follow it, then
    # its logits on 250, and on 200 of report. A FocusNet stage: the same without those on 250.
    # After the search 200 are predicted once.
    space = make_space(
        (("space", "data.subset"), {"choice": [25]}),
        (("search", "trials"), 3),
        (("controls", "arms"), ["placebo"]),
        (("controls", "seeds"), []),
        (("confirm", "seeds"), 2),
    )
    shared, own = study_work(space, DATA)
    template, focus = Work(1500, 1200 + 450), Work(1500, 1200 + 200)
    later_template, later_focus = Work(1500, 200 + 450), Work(1500, 200 + 200)
    # Seed 0 and two fresh ones; three trials and two of two arms.
    assert shared == template + later_template * 2 + focus * 3 + later_focus * 4
    assert own == (template + focus) * 3 + (later_template + later_focus) * 4


@pytest.mark.parametrize(
    ("keep", "evaluations", "focus_evaluations"), [("last", 3, 2), ("best", 7, 5)]
)  # after epochs 3, 6 and 7, and after 3 and 5
def test_evaluations_are_counted_by_eval_epochs(keep, evaluations, focus_evaluations, make_space):
    space = make_space(
        (("space", "data.subset"), {"choice": [100]}),
        (("search", "trials"), 1),
        (("trial", "template"), {"epochs": 7, "keep": keep}),
        (("trial", "focus"), {"epochs": 5}),
        (("trial", "compute"), {"eval_epochs": 3}),
    )
    shared, _ = study_work(space, DATA)
    template = Work(7000, evaluations * 200 + 1200)
    focus = Work(5000, focus_evaluations * 200 + 200)
    assert shared == template + focus


@pytest.mark.parametrize(("keep", "evaluated"), [("last", 0), ("best", 6 * 200)])
def test_each_fold_trains_a_template_on_the_clips_of_the_others(keep, evaluated, make_space):
    def work(**focus):
        space = make_space(
            (("space", "data.subset"), {"choice": [100]}),
            (("trial", "template"), {"epochs": 6, "keep": keep}),
            (("trial", "focus"), focus),
            (("confirm", "seeds"), 2),
        )
        return space, study_work(space, DATA)

    _, (shared, own) = work(folds=4)
    space, (shared_folds, own_folds) = work(template_logits="cross_fitted", folds=4)
    # Each clip is in three of four folds' training clips, and predicted by the fourth's template.
    folds = Work(3 * 6 * 1000, 1000 + 4 * evaluated)
    trials = space.trials_of(25) + space.follow_ups_of(25)
    assert shared_folds == shared + folds * 3  # seed 0 and two fresh ones
    assert own_folds == own + folds * trials


def test_a_fraction_of_a_gpu_divides_neither_its_hours_nor_the_time(make_space, monkeypatch):
    monkeypatch.setattr(duration, "largest_data", lambda space: DATA)
    monkeypatch.setattr(duration, "slots_here", lambda space: 2)
    monkeypatch.setattr("focusnet.training.speed.measure_speed", lambda trial: GPU_SPEED)
    monkeypatch.setattr(duration, "import_seconds", lambda: 8.0)
    space = make_space((("resources", "gpu"), 0.5))
    shared, _ = study_work(space, DATA)
    lines = list(describe_duration(space))
    trials = sum(space.trials_of(one) + space.follow_ups_of(one) for one in space.strata)
    stages = space.templates_at_most() + trials
    seconds = shared.seconds(1.0, 10.0) + 8 * trials + 2.5 * stages
    # Two halves of a GPU are one GPU: they take as long as one trial after the other.
    assert f"about {rough_time(seconds)}, {seconds / 3600:.1f} GPU-hours with 2 trials" in lines[0]
    # 76 of 80 GB hold seven trials of 9.2 + 0.8 GB.
    assert "10.0 GB per trial, of the GPU's 80.0 GB: 7 trials fit" in lines[-1]
    assert "resources.gpu: 0.14" in lines[-1]


@pytest.mark.parametrize(
    ("gpu", "warm_up", "compiled", "helps"),
    [
        (1, 1e5, False, "fewer trials with more epochs or larger subsets"),
        (1, 1e5, True, "trial.compute.compile: false"),
        (0, 0.1, False, None),
    ],
)
def test_the_plan_says_what_starts_take_and_what_helps(
    gpu, warm_up, compiled, helps, make_space, monkeypatch
):
    measured = replace(GPU_SPEED, warm_up=warm_up)
    monkeypatch.setattr(duration, "largest_data", lambda space: DATA)
    monkeypatch.setattr(duration, "slots_here", lambda space: 2)
    monkeypatch.setattr("focusnet.training.speed.measure_speed", lambda trial: measured)
    monkeypatch.setattr(duration, "choose_here", lambda trial, clips: {})
    monkeypatch.setattr(duration, "import_seconds", lambda: 8.0)
    compute = (("trial", "compute"), {"compile": compiled})
    lines = list(describe_duration(make_space((("resources", "gpu"), gpu), *[compute] * (gpu > 0))))
    (line,) = [line for line in lines if line.startswith("of it starts")]
    assert line.endswith(f": 8 s a process, {warm_up:.1f} s a stage until its steps are fast")
    told = [line for line in lines if line.startswith("starts take longer")]
    assert told == (
        [f"starts take longer than training and evaluation; what helps: {helps}"] if helps else []
    )


def test_too_little_memory_for_the_measurement_is_told_in_the_plan(make_space, monkeypatch):
    def full(trial):
        raise GpuMemoryError("the GPU's memory is not enough: 128 clips")

    monkeypatch.setattr(duration, "largest_data", lambda space: DATA)
    monkeypatch.setattr("focusnet.training.speed.measure_speed", full)
    assert list(describe_duration(make_space())) == [
        "cannot be measured here: the GPU's memory is not enough: 128 clips"
    ]


def test_a_measurement_on_a_full_gpu_says_what_fits(monkeypatch):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("focusnet.training.speed.train_stage", full)
    monkeypatch.setattr("focusnet.training.speed.memory_of_gpu", lambda device: (10**9, 0))
    trial = TrialConfig.model_validate(
        {
            "data": {"root": "synthetic"},
            "model": {"size": "tiny", "weights": "none"},
            "augment": {"patchout_freq": 0},
            "compute": {"device": "cpu"},
        }
    )
    with pytest.raises(GpuMemoryError, match=r"and the GPU has 1\.0 GB"):
        measure_speed(trial)


def test_a_speed_that_cannot_be_measured_is_no_error(make_space, monkeypatch):
    monkeypatch.setattr(duration, "largest_data", lambda space: DATA)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    space = make_space((("trial", "compute"), {"device": "cuda"}), (("resources", "gpu"), 1))
    assert list(describe_duration(space)) == [
        "cannot be measured here: compute.device: 'cuda' needs a GPU, and torch sees none here"
    ]
    monkeypatch.setattr(duration, "largest_data", lambda space: DataSize(0, 0, 0))
    assert list(describe_duration(space)) == ["unknown: the data set is missing"]


@pytest.mark.parametrize("template_logits", ["stored", "online"])
def test_measuring_speed_does_not_change_the_random_state(template_logits):
    trial = TrialConfig.model_validate(
        json.loads(
            '{"data": {"root": "synthetic"}, "features": {"sample_rate": 8000},'
            '"augment": {"patchout_freq": 2}, "model": {"size": "tiny", "weights": "none"},'
            '"template": {"batch_size": 2}, "compute": {"device": "cpu", "eval_batch_size": 4},'
            f'"focus": {{"template_logits": "{template_logits}"}}}}'
        )
    )
    before = torch.get_rng_state()
    speed = measure_speed(trial, seconds=0.05)
    assert torch.equal(torch.get_rng_state(), before)
    assert speed.train > 0
    assert speed.predict > speed.train / 2
    assert speed.memory > 10**7
