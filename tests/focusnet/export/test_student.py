"""``python -m focusnet.export --student``: weights, card and use of a trial's student."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from killed_processes import STUDENT, settings
from study_folder import row, write_study

from focusnet.export.__main__ import main
from focusnet.exported import load_model
from focusnet.pipeline import run_trial
from focusnet.predict.__main__ import main as predict
from focusnet.student.network import build_student
from focusnet.trial.data import load_trial_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tiny_dataset, tmp_path_factory):
    """A study's folder around one real trial with a student."""
    folder = tmp_path_factory.mktemp("study")
    trial = settings(tiny_dataset, folder / "cache")
    trial["data"]["subset"] = 50
    run_trial(trial | {"student": STUDENT}, folder / "trial")
    best = row("best", 0.6)
    best["data.subset"] = 50
    return write_study(folder / "small", folder / "trial", [best])


@pytest.fixture(scope="module")
def exported(study):
    folder = study.parent / "exported"
    assert main([str(study), "--subset", "50", "--student", "--to", str(folder)]) == 0
    return folder


def test_the_exported_student_gives_the_logits_of_the_trial(
    study, exported, tiny_dataset, tmp_path
):
    frame = pd.read_parquet(study / "predictions" / "best.parquet").query("stage == 'student'")
    columns = [name for name in frame if name.startswith("logit/")]
    data = load_trial_data(
        tiny_dataset,
        subset=50,
        subset_seed=0,
        sample_rate=16_000,
        on_bad_clip="error",
        dir_folder=None,
        cache=tmp_path,
        progress=False,
    )
    rows = np.concatenate([data.halves[half] for half in ("select", "report")])
    clips = next(iter(data.batches(rows, len(rows)))).clips.gather()
    model = load_model(exported)
    expected = frame.set_index("filename").loc[data.names(rows), columns]
    np.testing.assert_allclose(model(clips).numpy(), expected.to_numpy(), atol=1e-4)
    assert (model.sample_rate, model.window) == (16_000, 16_000)


def test_the_state_dict_has_the_public_names_and_loads_strictly(exported):
    state = torch.load(exported / "model_state_dict.pt", weights_only=True)
    assert {"in_c.0.0.weight", "stages.s3.b6.block.2.1.running_var", "feed_forward.1.bias"} <= set(
        state
    )
    build_student(8).load_state_dict(state, strict=True)


def test_the_card_has_sizes_and_accuracies(exported, study):
    card = (exported / "README.md").read_text()
    assert "5,722 parameters, 11,444 bytes in fp16" in card
    assert "taught by the logits of a PaSST, the second stage of arm `focusnet`" in card
    frame = pd.read_parquet(study / "predictions" / "best.parquet")
    own = frame[(frame["stage"] == "student") & (frame["half"] == "report")]
    logits = [name for name in own if name.startswith("logit/")]
    right = own[logits].idxmax(axis=1).str.removeprefix("logit/") == own["scene"]
    macro = 100 * right.groupby(own["scene"]).mean().mean()
    assert f"| this student | {macro:.1f} |" in card


def test_it_classifies_files_of_any_length_in_dcase_format(exported, tmp_path):
    rng = np.random.default_rng(0)
    for name, seconds in (("short.wav", 0.3), ("long.wav", 2.5)):
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(int(44_100 * seconds)), 44_100)
    out = tmp_path / "out.csv"
    arguments = [str(exported), str(tmp_path), "--format", "dcase", "--out", str(out)]
    assert predict(arguments) == 0
    table = pd.read_csv(out, sep="\t")
    assert list(table["filename"]) == ["long.wav", "short.wav"]
    np.testing.assert_allclose(table.iloc[:, 2:].sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--student", "--logits"], "--student and --logits exclude each other"),
        (["--student", "--confirmed"], "--student and --confirmed exclude each other"),
    ],
)
def test_what_excludes_each_other_is_said(arguments, message, study, tmp_path, capsys):
    assert main([str(study), "--subset", "50", *arguments, "--to", str(tmp_path / "x")]) == 2
    assert message in capsys.readouterr().err


def test_a_trial_without_a_student_has_none_to_export(small_study, tmp_path, capsys):
    arguments = [str(small_study), "--subset", "50", "--student", "--to", str(tmp_path / "x")]
    assert main(arguments) == 2
    assert "has no student.safetensors; only trials with trial.student" in capsys.readouterr().err


def test_a_second_stage_that_the_store_gave_has_no_weights(study, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    (copy / "trials" / "best" / "weights.safetensors").unlink()
    assert main([str(copy), "--subset", "50", "--to", str(tmp_path / "x")]) == 2
    assert "took its second stage from the store has none" in capsys.readouterr().err


def test_settings_say_what_was_trained(exported):
    content = yaml.safe_load((exported / "model.yaml").read_text())
    assert content["student"]["network"]["base"] == 8
    assert yaml.safe_load((exported / "trial.yaml").read_text())["student"]["epochs"] == 2
