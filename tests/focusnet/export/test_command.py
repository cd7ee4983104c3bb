"""``python -m focusnet.export``: the exported model, its logits and its model card."""

import re
import shutil
import warnings

import hear21passt.models.passt as hear
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
import torch
import yaml
from safetensors.torch import load_file, save_file
from study_folder import row

from focusnet.config import ModelConfig, TrialConfig
from focusnet.errors import ConfigError, DataError
from focusnet.export.__main__ import main
from focusnet.exported import load_model, write_model
from focusnet.mel import LogMel
from focusnet.model.passt import build_model
from focusnet.system.validation import validate
from focusnet.winner import table_winners

pytestmark = pytest.mark.slow


def stored_logits(study) -> pd.DataFrame:
    """FocusNet's logits of the test clips, as the trial stored them, by file name."""
    frame = pd.read_parquet(study / "predictions" / "best.parquet").query("stage == 'focus'")
    return frame.set_index("filename")[[c for c in frame if c.startswith("logit/")]]


def waveforms(root, names) -> torch.Tensor:
    """Clips at 32 kHz, read without this project's code."""
    clips = [soundfile.read(root / name, dtype="float32")[0] for name in names]
    return torch.from_numpy(np.stack([soxr.resample(clip, 44_100, 32_000) for clip in clips]))


def test_the_loaded_model_gives_the_logits_of_the_trial(exported, small_study, tiny_dataset):
    expected = stored_logits(small_study).iloc[::5]
    model = load_model(exported)
    logits = model(waveforms(tiny_dataset, expected.index))
    np.testing.assert_allclose(logits.numpy(), expected.to_numpy(), atol=1e-4)
    assert [f"logit/{scene}" for scene in model.classes] == list(expected.columns)
    assert (model.sample_rate, model.window) == (32_000, 32_000)
    assert not model.training


def test_hear21passts_own_class_loads_it_and_gives_the_same_logits(
    exported, small_study, tiny_dataset
):
    settings = yaml.safe_load((exported / "model.yaml").read_text())
    passt = hear.PaSST(**settings["passt"]).eval()
    passt.load_state_dict(load_file(exported / "weights.safetensors"), strict=True)
    expected = stored_logits(small_study).iloc[:6]
    mel = LogMel(**settings["features"]).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logits = passt(mel(waveforms(tiny_dataset, expected.index)).unsqueeze(1))[0]
    np.testing.assert_allclose(logits.numpy(), expected.to_numpy(), atol=1e-4)


def test_model_yaml_builds_hear21passts_class_in_the_size_passt_s(tmp_path):
    model = {"size": "passt_s", "weights": "none"}
    trial = validate(TrialConfig, {"data": {"root": "synthetic"}, "model": model})
    write_model(tmp_path, trial, ("bus", "park", "tram"), 1.0, "card")
    settings = yaml.safe_load((tmp_path / "model.yaml").read_text())
    theirs = hear.PaSST(**settings["passt"])
    theirs.load_state_dict(build_model(ModelConfig(**model), 3).state_dict(), strict=True)
    assert settings["passt"]["stride"] == 10


def test_fmax_is_written_without_the_jitter_of_training(exported):
    # Half the rate less half of the jitter: 32000 / 2 - 500 / 2.
    assert yaml.safe_load((exported / "model.yaml").read_text())["features"]["fmax"] == 15_750.0


def test_no_file_names_a_folder_of_this_machine(exported, small_study, tiny_dataset):
    for path in exported.glob("*.[ym][ad]*"):
        text = path.read_text()
        assert str(tiny_dataset.parent) not in text
        assert str(small_study.parent) not in text
    assert yaml.safe_load((exported / "trial.yaml").read_text())["data"]["root"] == "dataset"


def test_the_card_has_the_accuracies_on_report(exported, small_study):
    card = (exported / "README.md").read_text()
    frame = pd.read_parquet(small_study / "predictions" / "best.parquet").query("half == 'report'")
    logits = [column for column in frame if column.startswith("logit/")]
    guess = frame[logits].idxmax(axis=1).str.removeprefix("logit/")
    right = (guess == frame["scene"]).groupby([frame["stage"], frame["scene"]]).mean()
    before, after = (100 * right[stage].mean() for stage in ("template", "focus"))
    assert f"| template | {before:.1f} |" in card
    assert f"| this network | {after:.1f} |" in card
    assert f"| gain, in points | {after - before:+.1f} |" in card
    assert "as the best of 2 trials" in card
    assert "| focusnet | 2 | 50.0 | 25.0 | 75.0 |" in card
    assert "| placebo | 2 | 25.0 | 12.5 | 37.5 |" in card
    for heading in ("Use", "Data", "Accuracy", "Settings", "Limits", "Licences"):
        assert f"\n## {heading}\n" in card
    assert "licence of the data set" in card
    assert "load_model" in card


def test_intervals_of_the_card_contain_their_estimates(exported):
    card = (exported / "README.md").read_text()
    rows = re.findall(r"\| [a-z, ]+ \| ([+-]?[\d.]+) \| ([+-]?[\d.]+) to ([+-]?[\d.]+) \|", card)
    assert len(rows) == 3
    for value, low, high in rows:
        assert float(low) <= float(value) <= float(high)


def test_the_card_of_a_model_trained_on_tau22_states_its_licence(small_study, tmp_path):
    study = shutil.copytree(small_study, tmp_path / "study")
    path = study / "trials" / "best" / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["data"]["root"] = "/data/TAU-urban-acoustic-scenes-2022-mobile-development"
    settings["model"]["weights"] = "weights/mine.pt"
    path.write_text(yaml.safe_dump(settings))
    assert main([str(study), "--to", str(tmp_path / "to"), "--clip-seconds", "1"]) == 0
    card = (tmp_path / "to" / "README.md").read_text()
    assert "non-commercial" in card
    assert "Tampere University" in card
    assert "started from other weights" in card
    assert "/data" not in (tmp_path / "to" / "trial.yaml").read_text()


def test_of_a_winner_never_trained_in_the_search_its_confirmation_is_exported(
    small_study, tmp_path, capsys
):
    study = shutil.copytree(small_study, tmp_path / "study")
    space = yaml.safe_load((study / "space.yaml").read_text())
    space["search"] |= {"trials": 6, "winner": "posterior_mean", "stratify": None}
    space["space"] = {"focus.weight": {"uniform": [0.0, 1.0]}}
    (study / "space.yaml").write_text(yaml.safe_dump(space))
    values = (0.40, 0.50, 0.56, 0.561, 0.50, 0.40)
    rows = [row(f"t{n}", value, **{"focus.weight": n / 5}) for n, value in enumerate(values)]
    (won,) = table_winners(pd.DataFrame(rows), space)
    rows.append(row("best", 0.5, phase="confirm", winner="named", seed=1, **won.parameters))
    pd.DataFrame(rows).to_parquet(study / "trials.parquet")
    assert main([str(study), "--to", str(tmp_path / "to"), "--clip-seconds", "1"]) == 0
    card = (tmp_path / "to" / "README.md").read_text()
    for text in (card, capsys.readouterr().out):
        assert "The search has never trained them: this is their first training with a" in text
    assert "biased upwards" not in card, "nothing was picked by what this training gave"
    assert "| focusnet | 1 |" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{study}", "--to", "{tmp}"], "exists; name a new folder"),
        (["{study}", "--to", "{tmp}/x", "--subset", "25"], "must be one of 50, received '25'"),
        (["{study}", "{study}", "--to", "{tmp}/x"], "several studies need --logits"),
        (["{study}", "--to", "{tmp}/x", "--format", "tsv"], "--format: needs --logits"),
        (
            ["{study}", "--to", "{tmp}/x", "--trial", "worse"],
            "has no weights.safetensors; a study keeps the weights of its winners",
        ),
        (["{study}", "--to", "{tmp}/x", "--clip-seconds", "0"], "must be above 0"),
        (["{tmp}", "--to", "{tmp}/x"], "is not a study's folder"),
        (["{study}", "--to", "{tmp}/x", "--data", "{tmp}"], "the data set is not in"),
    ],
)
def test_wrong_input_is_reported_and_nothing_is_written(
    arguments, message, small_study, tmp_path, capsys
):
    filled = [one.format(study=small_study, tmp=tmp_path) for one in arguments]
    assert main(filled) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_reported_at_once(small_study, tmp_path, capsys):
    arguments = [str(small_study), str(tmp_path), "--to", str(tmp_path), "--subset", "7"]
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_folder_that_was_not_exported_is_refused(exported, tmp_path):
    with pytest.raises(DataError, match=r"has no model\.yaml"):
        load_model(tmp_path)
    copy = shutil.copytree(exported, tmp_path / "copy")
    state = load_file(copy / "weights.safetensors")
    save_file(state | {"head.1.bias": torch.zeros(3)}, copy / "weights.safetensors")
    with pytest.raises(DataError, match=r"does not fit model\.yaml: .*head\.1\.bias"):
        load_model(copy)
    (copy / "model.yaml").write_text("classes: [a]\n")
    with pytest.raises(ConfigError, match=r"model\.yaml: classes"):
        load_model(copy)


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m focusnet.export results/focus --subset 25" in capsys.readouterr().out
