"""``python -m focusnet.predict``: file names, probabilities, formats, unreadable files."""

import csv

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.special import softmax

from focusnet.errors import ConfigError
from focusnet.predict import __main__ as predict
from focusnet.predict.__main__ import find_files, main

pytestmark = pytest.mark.slow


def run(exported, clips, out, *options) -> int:
    arguments = [str(exported), *map(str, clips), "--out", str(out), *map(str, options)]
    return main(arguments)


def read(path, delimiter=",") -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter=delimiter)
    return header, rows


@pytest.fixture
def folder(tmp_path):
    """A folder of 1 s clips of noise, the first of them in a subfolder."""
    generator = np.random.default_rng(0)
    root = tmp_path / "clips"
    for name in ("deep/a.wav", "b.flac", "c.wav"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, generator.normal(0, 0.1, 32_000), 32_000)
    (root / "notes.txt").write_text("not audio")
    return root


def test_probabilities_are_the_softmax_of_the_trials_logits(
    exported, small_study, tiny_dataset, tmp_path
):
    frame = pd.read_parquet(small_study / "predictions" / "best.parquet").query("stage == 'focus'")
    frame = frame.set_index("filename").sort_index()
    assert run(exported, [tiny_dataset / "audio"], tmp_path / "p.csv", "--batch-size", 7) == 0
    header, rows = read(tmp_path / "p.csv")
    scenes = [column.removeprefix("logit/") for column in frame if column.startswith("logit/")]
    assert header == ["filename", *scenes]
    names = [row[0] for row in rows]
    assert names == sorted(path.name for path in (tiny_dataset / "audio").iterdir())
    found = {row[0]: np.array(row[1:], float) for row in rows}
    for name, logits in frame[[f"logit/{scene}" for scene in scenes]].iterrows():
        expected = softmax(logits.to_numpy(float))
        np.testing.assert_allclose(found[name.removeprefix("audio/")], expected, atol=2e-5)


def test_dcase_format_is_dcases_system_output(exported, folder, tmp_path):
    assert run(exported, [folder], tmp_path / "o.csv", "--format", "dcase") == 0
    header, rows = read(tmp_path / "o.csv", "\t")
    assert header == [
        "filename", "scene_label", "airport", "bus", "metro", "metro_station", "park",
        "public_square", "shopping_mall", "street_pedestrian", "street_traffic", "tram",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["b.flac", "c.wav", "a.wav"]
    for row in rows:
        values = np.array(row[2:], float)
        assert row[1] == header[2 + values.argmax()]
        assert values.sum() == pytest.approx(1, abs=1e-4)


def test_a_longer_file_gets_the_mean_over_its_windows(exported, folder, tmp_path):
    samples = np.concatenate(
        [soundfile.read(folder / name)[0] for name in ("deep/a.wav", "b.flac", "c.wav")]
    )
    long = tmp_path / "long.wav"
    soundfile.write(long, samples, 32_000, subtype="PCM_16")
    assert run(exported, [folder], tmp_path / "parts.csv") == 0
    assert run(exported, [long], tmp_path / "whole.csv", "--batch-size", 2) == 0
    parts = np.array([row[1:] for row in read(tmp_path / "parts.csv")[1]], float)
    [whole] = read(tmp_path / "whole.csv")[1]
    np.testing.assert_allclose(np.array(whole[1:], float), parts.mean(axis=0), atol=1e-5)
    assert whole[0] == long.as_posix()


def test_any_rate_number_of_channels_and_length_is_accepted(exported, tmp_path):
    root = tmp_path / "any"
    root.mkdir()
    generator = np.random.default_rng(0)
    for name, rate, seconds, channels in (
        ("a.wav", 8000, 0.05, 1),
        ("b.wav", 48_000, 2.5, 2),
        ("c.ogg", 44_100, 1.0, 6),
    ):
        shape = (int(rate * seconds), channels)
        soundfile.write(root / name, generator.uniform(-0.5, 0.5, shape), rate)
    assert run(exported, [root], tmp_path / "p.csv") == 0
    values = np.array([row[1:] for row in read(tmp_path / "p.csv")[1]], float)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-4)


def test_a_short_file_is_repeated_until_it_fills_a_window(exported, tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "short.wav", samples, 32_000)
    soundfile.write(tmp_path / "filled.wav", np.tile(samples, 4), 32_000)
    clips = [tmp_path / "short.wav", tmp_path / "filled.wav"]
    assert run(exported, clips, tmp_path / "p.csv") == 0
    short, filled = (row[1:] for row in read(tmp_path / "p.csv")[1])
    assert short == filled


def test_unreadable_files_are_listed_at_the_end_and_the_others_written(
    exported, folder, tmp_path, capsys
):
    (folder / "aa.wav").write_bytes(b"")
    (folder / "bb.wav").write_text("words")
    soundfile.write(folder / "cut.flac", np.random.default_rng(0).normal(0, 0.1, 96_000), 32_000)
    content = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) * 3 // 4])
    assert run(exported, [folder], tmp_path / "p.csv", "--batch-size", 1) == 1
    assert [row[0] for row in read(tmp_path / "p.csv")[1]] == ["b.flac", "c.wav", "deep/a.wav"]
    out, err = capsys.readouterr()
    assert "3 of 6 files" in out
    lines = err.splitlines()
    assert lines[0] == "3 files could not be read:"
    assert lines[1] == "  aa.wav: empty file"
    assert lines[2].startswith("  bb.wav: not readable as audio")
    assert lines[3].startswith("  cut.flac: ")


def test_a_thousand_files_stay_in_order_and_few_are_in_memory(exported, tmp_path, monkeypatch):
    # Files of different lengths, so that batches and files do not line up.
    held: list[int] = []
    open_files: set[str] = set()

    def fake(path, sample_rate, length):
        open_files.add(path.name)
        for _ in range(1 + int(path.stem) % 3):
            yield np.full(length, int(path.stem) / 1000, np.float32)

    class Waiting(predict.deque):
        def append(self, item):
            super().append(item)
            held.append(len(self))

    monkeypatch.setattr(predict, "windows", fake)
    monkeypatch.setattr(predict, "deque", Waiting)
    files = [(f"{n:04}.wav", tmp_path / f"{n:04}.wav") for n in range(1000)]
    reading = predict._read_windows(files, 8000, 10, 2)
    done = list(predict._classify(reading, lambda batch: np.array([[w[0], 1] for w in batch]), 16))
    assert [file.name for file in done] == [name for name, _ in files]
    means = [file.total[0] / file.computed for file in done]
    np.testing.assert_allclose(means, np.arange(1000) / 1000, atol=1e-6)
    assert [file.computed for file in done] == [1 + n % 3 for n in range(1000)]
    assert max(held) <= 17


@pytest.mark.parametrize(
    ("clips", "options", "message"),
    [
        (["nowhere.wav", "nothing"], [], "nothing: no such file or folder"),
        (["{folder}"], ["--window", "99"], "--window: must be 0.16 to 2 s, received 99"),
        (["{folder}"], ["--batch-size", "0"], "--batch-size: must be at least 1"),
        (
            ["{folder}", "{folder}"],
            ["--format", "dcase"],
            "folders are left out; received b.flac (2 files)",
        ),
    ],
)
def test_wrong_input_is_reported(clips, options, message, exported, folder, tmp_path, capsys):
    clips = [one.format(folder=folder) for one in clips]
    assert run(exported, clips, tmp_path / "p.csv", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_all_problems_are_reported_at_once(tmp_path, capsys):
    assert run(tmp_path / "none", ["nowhere.wav"], tmp_path / "p.csv", "--batch-size", "0") == 2
    assert capsys.readouterr().err.splitlines() == [
        "--batch-size: must be at least 1, received 0",
        f"{tmp_path / 'none'}: no such folder; give an exported model",
        "nowhere.wav: no such file or folder",
    ]


def test_the_window_length_can_be_set(exported, folder, tmp_path):
    assert run(exported, [folder / "c.wav"], tmp_path / "p.csv", "--window", "0.5") == 0
    assert run(exported, [folder / "c.wav"], tmp_path / "q.csv") == 0
    assert read(tmp_path / "p.csv")[1] != read(tmp_path / "q.csv")[1]


def test_names_are_relative_to_a_single_folder_and_paths_as_given_otherwise(folder):
    assert [name for name, _ in find_files([folder])] == ["b.flac", "c.wav", "deep/a.wav"]
    both = [name for name, _ in find_files([folder, folder / "c.wav"])]
    assert both[0] == (folder / "b.flac").as_posix()
    assert both[-1] == (folder / "c.wav").as_posix()
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no audio files"):
        find_files([folder / "empty"])


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--format dcase --out output.csv" in capsys.readouterr().out
