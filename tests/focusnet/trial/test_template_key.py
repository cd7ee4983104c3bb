"""What a template's key depends on, and what it does not."""

import pytest

from focusnet.config import TrialConfig
from focusnet.trial.data import prepare_data
from focusnet.trial.stages import PasstStages
from focusnet.trial.template_key import template_determinants, template_key


@pytest.fixture
def determinants(tiny_dataset, tmp_path):
    """Determinants of the template of a small trial with changed settings of ``compute``."""

    def make(focus=None, **compute):
        trial = TrialConfig.model_validate(
            {
                "data": {"root": str(tiny_dataset)},
                "augment": {"patchout_freq": 2},
                "model": {"size": "tiny", "weights": "none", "max_frames": 200},
                "focus": focus or {},
                "compute": {"device": "cpu"} | compute,
            }
        )
        return template_determinants(PasstStages(trial, prepare_data(trial), tmp_path))

    return make


def test_the_key_depends_on_every_value_and_on_no_order():
    key = template_key({"seed": 0, "template": {"lr": 1e-5, "epochs": 25}})
    assert key == "916d2e5e33a5715e", "templates made before would not be found"
    assert key == template_key({"template": {"epochs": 25, "lr": 1e-5}, "seed": 0})
    assert key != template_key({"seed": 1, "template": {"lr": 1e-5, "epochs": 25}})
    assert key != template_key({"seed": 0, "template": {"lr": 2e-5, "epochs": 25}})


def test_settings_that_change_no_number_are_not_in_the_key(determinants):
    expected = determinants()
    assert expected["compute"] == {"precision": "fp32", "threads": 1, "eval_batch_size": 256}
    assert determinants(checkpoint_epochs=0, non_finite_retries=3, eval_epochs=2) == expected
    assert determinants(precision="bf16") != expected


def test_settings_of_the_second_stage_are_not_in_the_key(determinants):
    expected = determinants()
    assert set(expected) == {
        "data", "clips", "seed", "features", "augment", "model", "weights", "template", "compute",
        "device", "versions",
    }  # fmt: skip
    for focus in (
        {"template_logits": "cross_fitted", "folds": 2},
        {"template_logits": "online"},
        {"folds": 7, "weight": 2.0},
    ):
        assert determinants(focus) == expected
