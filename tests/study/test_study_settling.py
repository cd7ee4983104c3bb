"""What a study leaves open is chosen before its first trial, recorded, never measured again."""

import json

import pytest
from study_command import FAKE, run

from focusnet.errors import ConfigError
from focusnet.left_open import Choice
from focusnet.system.yaml_file import read_yaml
from study.ledger.ledger import Ledger
from study.plan.describe import describe_plan
from study.plan.resume import check_folder
from study.settling import as_begun, settle, together

BF16 = Choice("bf16", "2 times as fast as fp32 here")
FP32 = Choice("fp32", "bf16 is 0.5 times as fast here")
COMPILED = Choice(True, "2 times as fast; 9 s to compile, 90 s saved")
PLAIN = Choice(False, "torch.compile fails here: no compiler")


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def with_precision(make_space, precision):
    return make_space((("trial", "compute"), {"precision": precision}))


@pytest.mark.parametrize("recorded", ["fp32", "bf16", None])
def test_a_study_goes_on_in_the_precision_that_it_was_begun_with(recorded, ledger, make_space):
    begun = with_precision(make_space, recorded or "fp32").content()
    if recorded is None:  # a study of before there was such a setting
        del begun["trial"]["compute"]["precision"]
    ledger.begin(begun)
    space = as_begun(with_precision(make_space, "auto"), ledger)
    assert space.base.compute.precision == (recorded or "fp32")
    assert settle(space, 1) == (space, {})
    check_folder(ledger, space, resume=True, how_to_resume="")


def test_another_precision_is_still_another_study(ledger, make_space):
    ledger.begin(with_precision(make_space, "bf16").content())
    named = as_begun(with_precision(make_space, "fp32"), ledger)
    with pytest.raises(ConfigError, match=r"compute\.precision: was 'bf16', now 'fp32'"):
        check_folder(ledger, named, resume=True, how_to_resume="")


def test_a_study_of_before_compilation_goes_on_without(ledger, make_space):
    begun = make_space().content()
    begun["trial"]["compute"].pop("compile", None)
    ledger.begin(begun)
    space = as_begun(make_space((("trial", "compute"), {"compile": "auto"})), ledger)
    assert space.base.compute.compile is False


def test_what_pays_on_every_node_is_taken():
    def precision(*answers):
        return together([{"precision": answer} for answer in answers])["precision"]

    assert precision(BF16, BF16) == BF16
    assert precision(FP32, FP32) == FP32
    mixed = precision(BF16, FP32, BF16)
    assert mixed.value == "fp32"
    assert mixed.why == "bf16 is 0.5 times as fast here, on 1 of 3 nodes"
    both = together(
        [{"precision": BF16, "compile": COMPILED}, {"precision": BF16, "compile": PLAIN}]
    )
    assert both["precision"] == BF16
    assert both["compile"].value is False
    assert both["compile"].why == "torch.compile fails here: no compiler, on 1 of 2 nodes"


def test_a_search_cannot_choose_auto(make_space):
    with pytest.raises(ConfigError, match=r"space\.compute\.precision: auto is chosen once"):
        make_space((("space", "compute.precision"), {"choice": ["auto", "fp32"]}))
    with pytest.raises(ConfigError, match=r"compile: auto is chosen .*; name true and false"):
        make_space((("space", "compute.compile"), {"choice": ["auto", False]}))


def test_a_plan_says_how_the_precision_will_be_settled(tmp_path, make_space):
    plan = describe_plan(with_precision(make_space, "auto"), tmp_path)
    assert "precision    bf16 if every node's GPU has it" in plan
    assert "precision    fp32\n" in describe_plan(make_space(), tmp_path)
    plan = describe_plan(make_space((("trial", "compute"), {"compile": "auto"})), tmp_path)
    assert "compile      if trials are long enough" in plan
    assert "compile " not in describe_plan(make_space(), tmp_path)


@pytest.mark.slow
def test_what_is_left_open_is_chosen_where_the_trials_run_and_recorded(tmp_path):
    auto = ["--set", "trial.compute.precision=auto", "--set", "trial.compute.compile=auto"]
    small = ["--set", "search.trials=1", "--set", "trial.template.epochs=1"]
    done = run(FAKE, tmp_path, *auto, *small)
    assert done.returncode == 0, done.stderr
    assert "Measuring what compute.precision and compute.compile should be here\n" in done.stderr
    study = tmp_path / "demo"
    recorded = read_yaml(study / "space.yaml")["trial"]["compute"]
    settled = json.loads((study / "provenance.json").read_text())["settled"]
    assert {name: one["value"] for name, one in settled.items()} == {
        "precision": recorded["precision"],
        "compile": False,
    }
    precision = recorded["precision"]
    assert precision in ("fp32", "bf16")
    assert recorded["compile"] is False
    assert f"  precision    {precision} ({settled['precision']['why']})\n" in done.stdout
    assert "  compile      false (only a GPU gains from it)\n" in done.stdout
    plan = run(FAKE, tmp_path, *auto, *small, "--plan", "--no-measure")
    assert f"  precision    {precision}\n" in plan.stdout
    assert "  compile " not in plan.stdout
