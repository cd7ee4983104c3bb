"""Which settings each arm uses."""

import subprocess
import sys

import pytest

from focusnet.arms import ARMS, label_of, settings_of_arm, uses
from focusnet.config import FocusConfig

BUDGET = {"epochs", "batch_size", "lr", "weight_decay"}
TEMPLATE = {"template_logits", "folds"}
EXPECTED = {
    "cross_entropy": BUDGET,
    "label_smoothing": BUDGET | {"label_smoothing"},
    "distillation": BUDGET | TEMPLATE | {"distillation"},
    "reference": BUDGET | TEMPLATE,
    "placebo": set(FocusConfig.model_fields) - {"distillation"},
    "focusnet": set(FocusConfig.model_fields) - {"distillation"},
    "template": set(),
    "labels": set(),
}


def test_expectations_cover_every_arm():
    assert set(ARMS) == set(EXPECTED)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_uses_the_settings_of_its_own_loss_and_budget(arm):
    assert {name for name in FocusConfig.model_fields if uses(arm, f"focus.{name}")} == EXPECTED[
        arm
    ]
    assert uses(arm, "focus.distillation.weight") == (arm == "distillation")


@pytest.mark.parametrize("arm", sorted(set(ARMS) - {"labels"}))
@pytest.mark.parametrize(
    "path", ["data.subset", "template.lr", "seed", "compute.precision", "student.lr"]
)
def test_every_arm_uses_the_settings_outside_the_second_stage(arm, path):
    assert uses(arm, path)


def test_without_a_teacher_a_trial_depends_on_nothing_that_determines_one():
    unused = [
        "template.lr", "model.size", "features.n_mels", "augment.roll",
        "student.distillation.temperature", "student.teachers", "student.teacher_seeds",
    ]  # fmt: skip
    used = ["student.lr", "student.network.base", "augment.dir_folder", "data.subset", "seed"]
    assert [path for path in unused if uses("labels", path)] == []
    assert [path for path in used if not uses("labels", path)] == []


@pytest.mark.parametrize("arm", ARMS)
def test_only_the_reference_ignores_given_loss_settings(arm):
    given = FocusConfig(
        weight=7.0, threshold=0.3, temperature=4.0, entropy_weight=0.0, label_smoothing=0.0,
        template_logits="online", epochs=5, lr=1e-4,
    )  # fmt: skip
    paper = FocusConfig(
        weight=1.0, threshold=None, temperature=2.0, entropy_weight=1.0, label_smoothing=0.1,
        template_logits="online", epochs=5, lr=1e-4,
    )  # fmt: skip
    assert settings_of_arm(arm, given) == (paper if arm == "reference" else given)


def test_the_module_does_not_import_torch():
    code = "import sys, focusnet.arms; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_arm_has_a_name_for_people_and_an_unknown_one_keeps_its_own():
    assert len({label_of(arm) for arm in ARMS} - set(ARMS)) == len(ARMS)
    assert label_of("another") == "another"
