"""What a stage makes of a trial's settings."""

import pytest

from focusnet.config import TrialConfig
from focusnet.errors import ConfigError
from focusnet.pipeline import run_trial
from focusnet.preparation import prepare_data
from focusnet.stages import Stages


@pytest.fixture
def make_stages(tiny_dataset, tmp_path):
    """Builds the stages of a small trial with settings of ``compute``."""

    def make(**compute):
        trial = TrialConfig.model_validate(
            {
                "data": {"root": str(tiny_dataset)},
                "augment": {"patchout_freq": 2},
                "model": {"size": "tiny", "weights": "none", "max_frames": 200},
                "compute": {"device": "cpu"} | compute,
            }
        )
        return Stages(trial, prepare_data(trial), tmp_path)

    return make


def test_what_changes_no_number_is_no_part_of_what_a_template_is_known_by(make_stages):
    known = make_stages().determinants()
    assert known["compute"] == {"precision": "fp32", "threads": 1, "eval_batch_size": 256}
    assert (
        make_stages(checkpoint_epochs=0, non_finite_retries=3, eval_epochs=2).determinants()
        == known
    )
    assert make_stages(precision="bf16").determinants() != known


@pytest.mark.parametrize(
    ("keep", "seen"),
    [("last", {1: [1, 2, 3, 4, 5], 2: [2, 4, 5], 9: [5]}), ("best", {2: [*range(1, 6)]})],
)
def test_epochs_are_evaluated_as_often_as_asked_with_the_same_outcome(
    keep, seen, tiny_dataset, tmp_path
):
    outcomes = []
    for every, epochs in seen.items():
        records = []
        result = run_trial(
            {
                "data": {"root": str(tiny_dataset)},
                "augment": {"patchout_freq": 2},
                "model": {"size": "tiny", "weights": "none", "max_frames": 200},
                "template": {"epochs": 5, "batch_size": 8, "keep": keep, "reuse": False},
                "compute": {"device": "cpu", "eval_epochs": every},
            },
            tmp_path / str(every),
            records.append,
        )
        for stage in ("template", "focus"):
            own = [record for record in records if record["stage"] == stage]
            assert [record["epoch"] for record in own] == [1, 2, 3, 4, 5]
            name = f"{stage}/select/macro_accuracy"
            assert [record["epoch"] for record in own if name in record] == epochs
        outcomes.append({k: v for k, v in result.metrics.items() if not k.endswith("seconds")})
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_a_cpu_compiles_nothing(make_stages):
    with pytest.raises(ConfigError, match=r"compute\.compile: must be false on a CPU"):
        make_stages(compile=True)


def test_a_precision_must_be_settled_before_anything_is_trained(make_stages):
    with pytest.raises(ValueError, match="not settled"):
        make_stages(precision="auto")
