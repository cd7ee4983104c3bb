"""``auto`` in a study's settings: one choice, made before its first trial and recorded."""

import json

import pytest
from study_command import FAKE, run

from focusnet.errors import ConfigError
from focusnet.system.gpu import GpuFeatures
from focusnet.system.yaml_file import read_yaml
from study.ledger.ledger import Ledger
from study.plan.describe import describe_plan
from study.plan.resume import check_folder
from study.tune import auto_settings, gpus
from study.tune.auto_settings import resolve_auto, with_recorded
from study.tune.gpus import check_gpus

GOOD = GpuFeatures(bf16=True, compiler_problem=None)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def with_precision(make_space, precision):
    return make_space((("trial", "compute"), {"precision": precision}))


@pytest.mark.parametrize("recorded", ["fp32", "bf16", None])
def test_a_resumed_study_keeps_the_precision_that_it_was_begun_with(recorded, ledger, make_space):
    begun = with_precision(make_space, recorded or "fp32").content()
    if recorded is None:  # a study from before there was such a setting
        del begun["trial"]["compute"]["precision"]
    ledger.begin(begun)
    space = with_recorded(with_precision(make_space, "auto"), ledger)
    assert space.base.compute.precision == (recorded or "fp32")
    assert resolve_auto(space, 1, [None]) == (space, {})
    check_folder(ledger, space, resume=True, how_to_resume="")


def test_another_precision_is_still_another_study(ledger, make_space):
    ledger.begin(with_precision(make_space, "bf16").content())
    named = with_recorded(with_precision(make_space, "fp32"), ledger)
    with pytest.raises(ConfigError, match=r"compute\.precision: was 'bf16', now 'fp32'"):
        check_folder(ledger, named, resume=True, how_to_resume="")


def test_a_study_from_before_compilation_resumes_without(ledger, make_space):
    begun = make_space().content()
    begun["trial"]["compute"].pop("compile", None)
    ledger.begin(begun)
    space = with_recorded(make_space((("trial", "compute"), {"compile": "auto"})), ledger)
    assert space.base.compute.compile is False


def on_a_gpu(make_space, device):
    compute = {"device": device, "precision": "auto", "compile": "auto"}
    return make_space((("trial", "compute"), compute), (("resources", "gpu"), 0.5))


def test_nodes_are_asked_only_where_trials_use_a_gpu(make_space, monkeypatch):
    asked = []
    answer = (["one"], [GOOD])
    monkeypatch.setattr(gpus, "_ask_nodes", lambda space: asked.append(1) or answer)
    assert check_gpus(with_precision(make_space, "auto")) == [None]
    assert check_gpus(on_a_gpu(make_space, "cpu")) == [None]
    assert not asked
    assert check_gpus(on_a_gpu(make_space, "cuda")) == [GOOD]
    assert asked


def test_the_choice_follows_from_what_the_nodes_have(make_space):
    space, choices = resolve_auto(with_precision(make_space, "auto"), 1, [None])
    assert str(choices["precision"]) == "fp32 (no GPU)"
    assert space.base.compute.precision == "fp32"
    space, choices = resolve_auto(on_a_gpu(make_space, "cuda"), 1, [GOOD])
    assert space.base.compute.precision == "bf16"
    assert choices["compile"].why.startswith("each process trains on fewer than")


def test_clips_are_shared_by_the_workers_that_run_side_by_side(make_space, monkeypatch):
    space = on_a_gpu(make_space, "auto")
    work, _ = auto_settings.study_work(space, auto_settings.largest_data(space))
    for slots, compiled in ((1, True), (2, False)):
        monkeypatch.setattr("focusnet.auto_settings.COMPILE_FROM_CLIPS", int(work.train))
        assert resolve_auto(space, slots, [GOOD])[1]["compile"].value == compiled


def test_a_node_whose_gpu_torch_does_not_see_is_told_before_the_first_trial(
    make_space, monkeypatch
):
    monkeypatch.setattr(gpus, "_ask_nodes", lambda space: (["one", "two"], [GOOD, None]))
    with pytest.raises(ConfigError, match="'cuda' needs a GPU, and torch sees none on a node"):
        check_gpus(on_a_gpu(make_space, "cuda"))
    nodes = check_gpus(on_a_gpu(make_space, "auto"))
    _, choices = resolve_auto(on_a_gpu(make_space, "auto"), 1, nodes)
    assert str(choices["precision"]) == "fp32 (no GPU, on 1 of 2 nodes)"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_gpus_that_cannot_be_used_are_told_together_before_the_first_trial(
    device, make_space, monkeypatch
):
    old = GpuFeatures(False, None, "the driver is too old")
    answer = (["one", "two", "three"], [old, GOOD, old])
    monkeypatch.setattr(gpus, "_ask_nodes", lambda space: answer)
    with pytest.raises(ConfigError) as error:
        check_gpus(on_a_gpu(make_space, device))
    assert [problem.split(";")[0] for problem in error.value.problems] == [
        f"resources.gpu: the GPU of node {name} cannot be used: the driver is too old"
        for name in ("one", "three")
    ]


def test_a_search_cannot_choose_auto(make_space):
    with pytest.raises(ConfigError, match=r"space\.compute\.precision: auto is"):
        make_space((("space", "compute.precision"), {"choice": ["auto", "fp32"]}))
    with pytest.raises(ConfigError, match=r"compile: auto is .*; name true and false"):
        make_space((("space", "compute.compile"), {"choice": ["auto", False]}))


def test_a_plan_says_how_precision_and_compilation_will_be_chosen(tmp_path, make_space):
    plan = describe_plan(with_precision(make_space, "auto"), tmp_path)
    assert "precision    bf16 if every node's GPU has it" in plan
    assert "precision    fp32\n" in describe_plan(make_space(), tmp_path)
    plan = describe_plan(make_space((("trial", "compute"), {"compile": "auto"})), tmp_path)
    assert "compile      if trials are long enough" in plan
    assert "compile " not in describe_plan(make_space(), tmp_path)


@pytest.mark.slow
def test_auto_is_chosen_where_the_trials_run_and_recorded(tmp_path):
    auto = ["--set", "trial.compute.precision=auto", "--set", "trial.compute.compile=auto"]
    small = ["--set", "search.trials=1", "--set", "trial.template.epochs=1"]
    done = run(FAKE, tmp_path, *auto, *small)
    assert done.returncode == 0, done.stderr
    study = tmp_path / "demo"
    recorded = read_yaml(study / "space.yaml")["trial"]["compute"]
    assert (recorded["precision"], recorded["compile"]) == ("fp32", False)
    assert json.loads((study / "provenance.json").read_text())["settled"] == {
        "precision": {"value": "fp32", "why": "no GPU"},
        "compile": {"value": False, "why": "no GPU"},
    }
    assert "] precision fp32 (no GPU)\n" in done.stdout
    assert "] compile  false (no GPU)\n" in done.stdout
    plan = run(FAKE, tmp_path, *auto, *small, "--plan", "--no-measure")
    assert "  precision    fp32\n" in plan.stdout
    assert "  compile " not in plan.stdout
