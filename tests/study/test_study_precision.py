"""A study has one precision: chosen before its first trial, recorded, never measured again."""

import json

import pytest
from test_study_command import FAKE, run

from focusnet.errors import ConfigError
from focusnet.yaml_file import read_yaml
from study.ledger import Ledger
from study.plan import describe_plan
from study.precision import as_begun, settle_precision, together
from study.resume import check_folder

BF16 = {"precision": "bf16", "why": "2 times as fast as fp32 here"}
FP32 = {"precision": "fp32", "why": "bf16 is 0.5 times as fast here"}


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
    assert space.example().compute.precision == (recorded or "fp32")
    assert settle_precision(space) == (space, None)
    check_folder(ledger, space, resume=True, how_to_resume="")


def test_another_precision_is_still_another_study(ledger, make_space):
    ledger.begin(with_precision(make_space, "bf16").content())
    named = as_begun(with_precision(make_space, "fp32"), ledger)
    with pytest.raises(ConfigError, match=r"compute\.precision: was 'bf16', now 'fp32'"):
        check_folder(ledger, named, resume=True, how_to_resume="")


def test_bf16_is_taken_where_it_pays_on_every_node():
    assert together([BF16, BF16]) == BF16
    assert together([FP32, FP32]) == FP32
    mixed = together([BF16, FP32, BF16])
    assert mixed["precision"] == "fp32"
    assert mixed["why"] == "bf16 is 0.5 times as fast here, on 1 of 3 nodes"


def test_a_search_cannot_choose_auto(make_space):
    with pytest.raises(ConfigError, match=r"space\.compute\.precision: auto is settled once"):
        make_space((("space", "compute.precision"), {"choice": ["auto", "fp32"]}))


def test_a_plan_says_how_the_precision_will_be_settled(tmp_path, make_space):
    plan = describe_plan(with_precision(make_space, "auto"), tmp_path)
    assert "precision    bf16 where the GPU has it" in plan
    assert "precision    fp32\n" in describe_plan(make_space(), tmp_path)


@pytest.mark.slow
def test_the_precision_is_chosen_where_the_trials_run_and_recorded(tmp_path):
    auto = ["--set", "trial.compute.precision=auto"]
    small = ["--set", "search.trials=1", "--set", "trial.template.epochs=1"]
    done = run(FAKE, tmp_path, *auto, *small)
    assert done.returncode == 0, done.stderr
    study = tmp_path / "demo"
    recorded = read_yaml(study / "space.yaml")["trial"]["compute"]["precision"]
    chosen = json.loads((study / "provenance.json").read_text())["precision"]
    assert chosen["precision"] == recorded
    assert recorded in ("fp32", "bf16")
    assert f"  precision    {recorded} ({chosen['why']})\n" in done.stdout
    plan = run(FAKE, tmp_path, *auto, *small, "--plan", "--no-measure")
    assert f"  precision    {recorded}\n" in plan.stdout
