"""A teacher's logits for CP-JKU's student code, checked without this project's code."""

import csv
import json
import shutil
import warnings

import hear21passt.models.passt as hear
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file, save_file

from focusnet.dataset.layout import read_dataset
from focusnet.dataset.subsets import training_subset
from focusnet.export.__main__ import main
from focusnet.export.teacher_logits import TeacherLogits, write_logits
from focusnet.mel import LogMel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def teacher(small_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "to"
    arguments = [str(small_study), "--subset", "50", "--to", str(folder), "--logits"]
    assert main(arguments) == 0
    return folder


def trained_on(root) -> set[str]:
    dataset = read_dataset(root)
    return set(dataset.clips["filename"].iloc[training_subset(dataset, 50, 0)])


def names_in_meta(root) -> list[str]:
    with (root / "meta.csv").open(newline="") as file:
        return [row["filename"] for row in csv.DictReader(file, delimiter="\t")]


def test_the_tensor_has_a_row_for_each_row_of_meta(teacher, tiny_dataset):
    logits = torch.load(teacher / "logits.pt", weights_only=True)
    names = names_in_meta(tiny_dataset)
    assert logits.shape == (len(names), 10)
    assert logits.dtype == torch.float32
    assert (teacher / "filenames.txt").read_text().splitlines() == names
    known = [name for name, row in zip(names, logits, strict=True) if row.isfinite().all()]
    unknown = [name for name, row in zip(names, logits, strict=True) if row.isnan().all()]
    assert set(known) == trained_on(tiny_dataset)
    assert len(known) + len(unknown) == len(names)
    assert 0 < len(known) < len(names)


def test_each_row_has_the_logits_of_the_clip_in_that_row_of_meta(teacher, tiny_dataset):
    # Read by csv, soundfile and soxr, computed by hear21passt's class.
    logits = torch.load(teacher / "logits.pt", weights_only=True)
    settings = yaml.safe_load((teacher / "model.yaml").read_text())
    passt = hear.PaSST(**settings["passt"]).eval()
    passt.load_state_dict(load_file(teacher / "weights.safetensors"))
    mel = LogMel(**settings["features"]).eval()
    known = trained_on(tiny_dataset)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for row, name in enumerate(names_in_meta(tiny_dataset)):
            if name in known:
                audio, rate = soundfile.read(tiny_dataset / name, dtype="float32")
                clip = torch.from_numpy(soxr.resample(audio, rate, 32_000))
                expected = passt(mel(clip[None]).unsqueeze(1))[0][0]
                np.testing.assert_allclose(logits[row], expected, atol=1e-4)


def test_cpjkus_student_code_reads_the_right_clips(teacher, tiny_dataset):
    # The steps of datasets/dcase23.py in cpjku_dcase23.
    meta = pd.read_csv(tiny_dataset / "meta.csv", sep="\t")
    train_files = sorted(trained_on(tiny_dataset))
    train_indices = list(meta[meta["filename"].isin(train_files)].index)
    loaded = torch.load(teacher / "logits.pt", weights_only=True).float()
    logits = F.log_softmax(loaded / 2, dim=-1)
    own = torch.stack([logits[index] for index in train_indices])
    assert own.isfinite().all()
    labels = torch.tensor(pd.factorize(meta["scene_label"], sort=True)[0])[train_indices]
    by_row = own.argmax(dim=1) == labels
    by_wrong_row = own.roll(7, dims=0).argmax(dim=1) == labels
    assert by_row.float().mean() > by_wrong_row.float().mean()


def test_the_logits_of_an_ensemble_are_the_mean_of_its_teachers(small_study, teacher, tmp_path):
    other = shutil.copytree(small_study, tmp_path / "other")
    path = other / "trials" / "best" / "weights.safetensors"
    state = load_file(path)
    save_file(state | {"head.1.bias": state["head.1.bias"] + 1.0}, path)
    folder = tmp_path / "both"
    arguments = [str(small_study), str(other), "--to", str(folder), "--logits"]
    assert main(arguments) == 0
    first = torch.load(teacher / "logits.pt", weights_only=True)
    mean = torch.load(folder / "logits.pt", weights_only=True)
    # A bias raised by 1 in one of two teachers raises the mean by 1/2.
    shift = (mean - first)[first.isfinite().all(dim=1)]
    assert shift.std() < 1e-5
    assert shift.mean().item() == pytest.approx(0.5, abs=1e-5)
    members = sorted(one.name for one in folder.iterdir())
    assert members == ["filenames.txt", "logits.pt", "member1", "member2"]


def test_the_winners_trainings_with_fresh_seeds_make_an_ensemble(small_study, teacher, tmp_path):
    study = shutil.copytree(small_study, tmp_path / "study")
    rows = pd.read_parquet(study / "trials.parquet")
    again = (rows["phase"] == "confirm") & (rows["arm"] == "focusnet")
    for shift, name in enumerate(rows.loc[again, "trial"], start=1):
        own = shutil.copytree(study / "trials" / "best", study / "trials" / name)
        predictions = study / "predictions"
        shutil.copy(predictions / "best.parquet", predictions / f"{name}.parquet")
        path = own / "weights.safetensors"
        state = load_file(path)
        save_file(state | {"head.1.bias": state["head.1.bias"] + shift}, path)
    arguments = [str(study), "--subset", "50", "--confirmed", "--logits", "--to"]
    assert main([*arguments, str(tmp_path / "to")]) == 0
    first = torch.load(teacher / "logits.pt", weights_only=True)
    mean = torch.load(tmp_path / "to" / "logits.pt", weights_only=True)
    shift = (mean - first)[first.isfinite().all(dim=1)]
    # Biases raised by 1 and by 2 raise the mean by 1.5.
    assert shift.std() < 1e-5
    assert shift.mean().item() == pytest.approx(1.5, abs=1e-5)
    card = (tmp_path / "to" / "member1" / "README.md").read_text()
    assert f"# small: {rows.loc[again, 'trial'].iloc[0]}" in card
    assert "biased upwards" not in card


def split_list(root) -> list[str]:
    """The training clips of the subset in another order than that of ``meta.csv``."""
    names = sorted(trained_on(root))
    return [names[i] for i in np.random.default_rng(3).permutation(len(names))]


def test_logits_in_the_order_of_an_official_list_of_clips(
    small_study, teacher, tiny_dataset, tmp_path
):
    listed = split_list(tiny_dataset)
    moved = shutil.copytree(tiny_dataset, tmp_path / "moved")
    lines = "\n".join(["filename", *listed])
    (moved / "evaluation_setup" / "split50.csv").write_text(lines + "\n")
    folder = tmp_path / "to"
    arguments = [str(small_study), "--subset", "50", "--data", str(moved), "--to", str(folder)]
    assert main([*arguments, "--logits", "--format", "split"]) == 0
    found = torch.load(folder / "logits.pt", weights_only=True)
    assert (folder / "filenames.txt").read_text().splitlines() == listed
    by_meta = torch.load(teacher / "logits.pt", weights_only=True)
    rows = [names_in_meta(tiny_dataset).index(name) for name in listed]
    assert torch.equal(found, by_meta[rows])
    assert found.isfinite().all()
    assert not (folder / "split50.csv").exists()


def test_a_list_that_was_drawn_comes_with_its_logits(tmp_path):
    values = np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    frame = pd.DataFrame(values, index=["a.wav", "b.wav", "c.wav"], columns=["bus", "tram"])
    write_logits(tmp_path, TeacherLogits(frame, ["c.wav", "a.wav"], True, 25), "split")
    assert (tmp_path / "split25.csv").read_text() == "filename\nc.wav\na.wav\n"
    found = torch.load(tmp_path / "logits.pt", weights_only=True)
    assert found.tolist() == [[3, 4], [1, 2]]


def test_logits_by_file_name_are_the_same_numbers(small_study, teacher, tiny_dataset, tmp_path):
    folder = tmp_path / "to"
    arguments = [str(small_study), "--subset", "50", "--to", str(folder), "--logits"]
    assert main([*arguments, "--format", "tsv"]) == 0
    table = pd.read_csv(folder / "logits.tsv", sep="\t", index_col="filename")
    assert list(table.columns) == list(read_dataset(tiny_dataset).classes)
    assert set(table.index) == trained_on(tiny_dataset)
    by_meta = torch.load(teacher / "logits.pt", weights_only=True)
    rows = [names_in_meta(tiny_dataset).index(name) for name in table.index]
    assert np.array_equal(table.to_numpy(dtype=np.float32), by_meta[rows].numpy())
    assert not (folder / "logits.pt").exists()


def test_teachers_of_different_clips_are_refused(small_study, tiny_dataset, tmp_path, capsys):
    other = shutil.copytree(small_study, tmp_path / "other")
    own = other / "trials" / "best"
    settings = yaml.safe_load((own / "config.yaml").read_text())
    settings["data"]["subset"] = 100
    (own / "config.yaml").write_text(yaml.safe_dump(settings))
    result = json.loads((own / "result.json").read_text())
    result["clips"]["train"] = len(training_subset(read_dataset(tiny_dataset), 100, 0))
    (own / "result.json").write_text(json.dumps(result))
    arguments = [str(small_study), str(other), "--to", str(tmp_path / "to"), "--logits"]
    assert main(arguments) == 2
    assert "trained on other clips or scenes" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_a_moved_data_set_is_accepted_and_a_different_one_refused(
    small_study, teacher, tiny_dataset, tmp_path, capsys
):
    moved = shutil.copytree(tiny_dataset, tmp_path / "moved")
    arguments = [str(small_study), "--logits", "--data", str(moved), "--to"]
    assert main([*arguments, str(tmp_path / "to")]) == 0
    first, second = (
        torch.load(folder / "logits.pt", weights_only=True) for folder in (teacher, tmp_path / "to")
    )
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    lines = (moved / "evaluation_setup" / "fold1_evaluate.csv").read_text().splitlines()
    (moved / "evaluation_setup" / "fold1_evaluate.csv").write_text("\n".join(lines[:-1]) + "\n")
    assert main([*arguments, str(tmp_path / "to2")]) == 2
    assert "is not the data set that best was trained on" in capsys.readouterr().err
