"""How a trial's settings shape its stages."""

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from focusnet.config import DistillationConfig, FocusConfig, TrialConfig
from focusnet.errors import ConfigError
from focusnet.pipeline import run_trial
from focusnet.training.checkpoint import Checkpoint
from focusnet.trial.data import prepare_data
from focusnet.trial.logits import align_logits
from focusnet.trial.second_stage_training import stage_determinants
from focusnet.trial.stages import PasstStages


def small_trial(root, *, template=None, compute=None) -> TrialConfig:
    return TrialConfig.model_validate(
        {
            "data": {"root": str(root)},
            "augment": {"patchout_freq": 2},
            "model": {"size": "tiny", "weights": "none", "max_frames": 200},
            "template": template or {},
            "compute": {"device": "cpu"} | (compute or {}),
        }
    )


@pytest.fixture
def make_stages(tiny_dataset, tmp_path):
    """Builds the stages of a small trial with settings of ``compute``."""

    def make(**compute):
        trial = small_trial(tiny_dataset, compute=compute)
        return PasstStages(trial, prepare_data(trial), tmp_path)

    return make


@pytest.mark.parametrize(
    ("keep", "seen"),
    [("last", {1: [1, 2, 3, 4, 5], 2: [2, 4, 5], 9: [5]}), ("best", {2: [*range(1, 6)]})],
)
def test_epochs_are_evaluated_as_often_as_asked_with_the_same_outcome(
    keep, seen, tiny_dataset, tmp_path, monkeypatch
):
    outcomes, predicted = [], []
    predict = PasstStages.predict
    monkeypatch.setattr(
        PasstStages,
        "predict",
        lambda self, model, rows: predicted.append(rows) or predict(self, model, rows),
    )
    for every, epochs in seen.items():
        records = []
        out = tmp_path / str(every)
        trial = small_trial(
            tiny_dataset,
            template={"epochs": 5, "batch_size": 8, "lr": 1e-3, "keep": keep, "reuse": False},
            compute={"eval_epochs": every},
        )
        result = run_trial(trial, out, records.append)
        for stage in ("template", "focus"):
            own = [record for record in records if record["stage"] == stage]
            assert [record["epoch"] for record in own] == [1, 2, 3, 4, 5]
            name = f"{stage}/select/macro_accuracy"
            assert [record["epoch"] for record in own if name in record] == epochs
        # Of each stage its epochs, and report; of the template also the training clips.
        assert len(predicted) == 2 * (len(epochs) + 1) + 1
        predicted.clear()
        outcomes.append({k: v for k, v in result.metrics.items() if not k.endswith("seconds")})
        # Logits on select that were at hand are those of the weights that the trial leaves.
        data = prepare_data(trial)
        stages = PasstStages(trial, data, tmp_path)
        model = stages.build(training=False)
        model.load_state_dict(load_file(out / "weights.safetensors"))
        frame = pd.read_parquet(out / "predictions.parquet").query(
            "stage == 'focus' and half == 'select'"
        )
        names = data.names(data.halves["select"])
        left = align_logits(frame, names, data.dataset.classes)
        assert np.array_equal(left, predict(stages, model, data.halves["select"]))
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_cpu_compiles_nothing(make_stages):
    with pytest.raises(ConfigError, match=r"compute\.compile: must be false on a CPU"):
        make_stages(compile=True)


def test_auto_must_be_resolved_before_anything_is_trained(make_stages):
    with pytest.raises(ValueError, match="not resolved"):
        make_stages(precision="auto")


def test_a_second_stage_begun_before_a_setting_existed_goes_on(tmp_path):
    def stage(**distillation):
        focus = FocusConfig(distillation=DistillationConfig(**distillation))
        return Checkpoint(tmp_path, stage_determinants("abc", "distillation", focus))._stage

    # Golden: of a checkpoint that was written before focus.distillation.form existed.
    assert stage() == "7cd186166d0522f1acbecd739a9b9fe787a9bd1c1c785b0a8285238df6be3c9b"
    others = [stage(form="field"), stage(weight=0.4), stage(label_weight=0.1)]
    assert len({stage(), *others}) == 4
    assert stage(form="field", teacher_weight=0.9) != stage(form="field")
