"""The command that checks a data set: its tables, its problems and its coverage."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

import focusnet.dataset.check
from focusnet.dataset.__main__ import main

RATE = 8000
SCENES = ["bus", "tram"]


class Clip(NamedTuple):
    """A row of meta.csv with any file name."""

    filename: str
    scene: str
    location: str
    device: str


@pytest.fixture
def parts(clip):
    """Training and test clips of a small data set: two scenes, eight locations."""
    train = [
        clip(scene, f"paris-{place}", device, segment=place, piece=piece)
        for scene, places in (("bus", (1, 2)), ("tram", (3, 4)))
        for place in places
        for device in ("a", "s1")
        for piece in (0, 1)
    ]
    test = [
        clip(scene, f"lyon-{place}", device, segment=place)
        for scene, places in (("bus", (5, 6)), ("tram", (7, 8)))
        for place in places
        for device in ("a", "s4")
    ]
    return train, test


@pytest.fixture
def build(tmp_path, write_layout):
    """Writes a data set with a second of noise for each clip."""

    def write(train, test, neither=()) -> Path:
        root = write_layout(tmp_path / "data", train, test, list(neither))
        (root / "audio").mkdir()
        generator = np.random.default_rng(0)
        for name in {clip.filename for clip in [*train, *test, *neither]}:
            soundfile.write(root / name, generator.normal(0, 0.1, RATE), RATE, subtype="PCM_24")
        return root

    return write


@pytest.fixture
def root(build, parts) -> Path:
    return build(*parts)


@pytest.fixture
def check(capsys):
    """Runs the command; returns its exit status and what it printed."""

    def run(*arguments) -> tuple[int, str]:
        status = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def problems(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("error:", "warning:"))]


def write_subset(root: Path, percent: int, clips) -> None:
    lines = ["filename\tscene_label", *(f"{clip.filename}\t{clip.scene}" for clip in clips)]
    (root / "evaluation_setup" / f"split{percent}.csv").write_text("\n".join(lines) + "\n")


def test_a_correct_data_set_is_usable_and_its_tables_count_its_clips(check, root):
    status, text = check(root)
    assert status == 0
    assert text.rstrip().endswith("usable: no problem found")
    rows = [line.split() for line in text.splitlines()]
    assert ["clips", "16", "8", "0"] in rows
    assert ["recordings", "8", "8", "0"] in rows
    assert ["locations", "4", "4", "0"] in rows
    assert ["devices", "2", "2", "0"] in rows
    assert ["bus", "8", "2", "4", "2"] in rows
    assert ["s1", "8", "4", "0", "0"] in rows
    assert ["paris", "16", "4", "0", "0"] in rows
    assert "8000 Hz, 1 channel, PCM_24, 1.000 s" in text
    assert "24 clips, 0.0 hours, 577.1 kB" in text


def test_clips_of_one_recording_in_both_splits_are_an_error(check, build, parts, clip):
    train, test = parts
    status, text = check(build(train, [*test, clip("bus", "paris-1", "a", segment=1, piece=7)]))
    assert status == 2
    assert (
        "error: leak: recordings in training and in test: 1 (audio/bus-paris-1-1-a), "
        "with 1 of 9 test clips\n" in text
    )


def test_a_location_in_both_splits_is_a_warning_with_the_same_scene_or_another(
    check, build, parts, clip
):
    train, test = parts
    moved = [clip("bus", "paris-2", "a", segment=90), clip("tram", "paris-1", "a", segment=91)]
    status, text = check(build(train, [*test, *moved]))
    assert status == 1
    assert problems(text) == [
        "warning: leak: locations with one scene in training and in test: 1 (bus at paris-2), "
        "with 1 of 10 test clips",
        "warning: locations with different scenes in training and in test: 1 (paris-1)",
    ]


def test_copies_are_reported_by_their_effect(check, root, parts):
    train, test = (sorted(clip.filename for clip in part) for part in parts)
    bus, tram = train[0], train[-1]
    (root / train[1]).write_bytes((root / bus).read_bytes())  # the same scene
    (root / train[-2]).write_bytes((root / train[2]).read_bytes())  # bus and tram
    (root / test[0]).write_bytes((root / tram).read_bytes())
    status, text = check(root)
    assert status == 2
    assert problems(text) == [
        f"error: leak: the same audio in training and in test: 1 ({tram} = {test[0]})",
        f"warning: the same audio with different scenes: 1 ({train[2]} = {train[-2]})",
        f"warning: the same audio more than once in a split: 1 ({bus} = {train[1]})",
    ]


def test_files_that_differ_in_one_byte_are_no_copies(check, root, parts):
    first, second = (root / clip.filename for clip in parts[0][:2])
    content = bytearray(first.read_bytes())
    content[100] ^= 1
    second.write_bytes(content)
    assert check(root)[0] == 0


def test_equal_samples_in_another_file_format_are_found_by_full(check, root, parts, monkeypatch):
    monkeypatch.setattr(focusnet.dataset.check, "SAMPLE", 5)
    first, second = (root / clip.filename for clip in parts[0][:2])
    samples, _ = soundfile.read(first)
    soundfile.write(second, samples, RATE, subtype="FLOAT")
    assert check(root)[0] == 0
    status, text = check(root, "--full")
    assert status == 1
    assert "the same audio more than once in a split: 1" in text
    assert "all 24 clips of training and test, decoded" in text


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_digital_silence_is_found_without_decoding_all_clips(
    check, root, parts, subtype, monkeypatch
):
    monkeypatch.setattr(focusnet.dataset.check, "SAMPLE", 0)
    name = parts[1][-1].filename
    soundfile.write(root / name, np.zeros(RATE), RATE, subtype=subtype)
    status, text = check(root)
    assert status == 1
    assert problems(text) == [f"warning: silent (within -80 dBFS): 1 ({name})"]
    assert "(decoded because they looked silent: 1)" in text


def test_a_clip_that_is_silent_only_in_the_middle_is_not_silent(check, root, parts):
    samples = np.zeros(RATE)
    samples[10] = 0.01
    soundfile.write(root / parts[0][0].filename, samples, RATE, subtype="PCM_24")
    assert check(root)[0] == 0


def test_near_silence_is_found_by_decoding(check, root, parts, monkeypatch):
    monkeypatch.setattr(focusnet.dataset.check, "SAMPLE", 0)
    hum = 0.5 + 5e-5 * np.sin(np.arange(RATE))  # -86 dB around an offset
    soundfile.write(root / parts[0][0].filename, hum, RATE, subtype="PCM_24")
    status, text = check(root)
    assert status == 0
    assert "a sample of 0 clips" in text
    status, text = check(root, "--full")
    assert (status, len(problems(text))) == (1, 1)
    assert "silent (within -80 dBFS): 1" in text


def test_silent_clips_are_not_reported_as_copies(check, root, parts):
    for part in parts:
        soundfile.write(root / part[0].filename, np.zeros(RATE), RATE, subtype="PCM_24")
    status, text = check(root)
    assert status == 1
    assert len(problems(text)) == 1


def test_unusable_files_are_counted_by_reason(check, root, parts):
    names = [clip.filename for clip in parts[0]]
    (root / names[0]).unlink()
    (root / names[1]).unlink()
    (root / names[2]).write_bytes(b"")
    ramp = np.linspace(-0.5, 0.5, RATE)
    soundfile.write(root / names[3], ramp, 2 * RATE)
    soundfile.write(root / names[4], np.stack([ramp, -ramp], axis=1), RATE)
    (root / names[5]).write_bytes(b"RIFF and no more")
    status, text = check(root)
    assert status == 2
    assert f"error: no such file: 2 ({names[0]}, {names[1]})" in text
    assert f"error: empty file: 1 ({names[2]})" in text
    assert f"error: 16000 Hz, most clips have 8000 Hz: 1 ({names[3]})" in text
    assert f"error: 2 channels, must be mono: 1 ({names[4]})" in text
    assert f"({names[5]})" in text
    assert len(problems(text)) == 5


def test_damage_behind_the_header_is_found_by_decoding(check, root, parts):
    path = root / parts[0][0].filename
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples, RATE, format="FLAC")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    status, text = check(root)
    assert status == 2
    assert "error: cannot be decoded: 1" in text


def test_compressed_clips_are_excluded_from_the_check_for_silence(check, root, parts, monkeypatch):
    monkeypatch.setattr(focusnet.dataset.check, "SAMPLE", 0)
    path = root / parts[0][0].filename
    soundfile.write(path, np.zeros(RATE), RATE, format="FLAC")
    status, text = check(root)
    assert status == 0
    assert "digital silence: all 24 clips of training and test except compressed files (1)" in text
    assert check(root, "--full")[0] == 1


def test_file_names_without_a_recording_are_reported(check, build):
    train = [Clip(f"audio/{n}.wav", scene, f"x-{n}", "a") for n, scene in enumerate(SCENES * 2)]
    test = [Clip(f"audio/t{n}.wav", scene, f"y-{n}", "a") for n, scene in enumerate(SCENES * 2)]
    status, text = check(build(train, test))
    assert status == 0
    assert "File names do not show which clips belong to one recording" in text


def test_problems_of_unused_files_are_warnings(check, build, parts, clip):
    root = build(*parts, [clip("zoo", "oslo-9", "c")])
    (root / "audio" / "zoo-oslo-9-0-0-c.wav").unlink()
    (root / "audio" / "stranger.wav").write_bytes(b"")
    status, text = check(root)
    assert status == 1
    assert problems(text) == [
        "warning: in neither split: no such file: 1 (audio/zoo-oslo-9-0-0-c.wav)",
        "warning: not named in meta.csv: 1 (audio/stranger.wav)",
    ]


def test_subset_lists_must_have_whole_recordings_their_size_and_nest(check, root, parts):
    train, test = parts
    halves = [clip for clip in train if clip.location in ("paris-1", "paris-3")]
    write_subset(root, 50, halves)
    write_subset(root, 100, train)
    status, text = check(root)
    assert status == 0
    rows = [line.split() for line in text.splitlines()]
    assert ["50", "%", "8", "50.00", "4", "2"] in rows

    write_subset(root, 50, [*halves[:-1], train[6]])
    write_subset(root, 80, halves)
    write_subset(root, 25, [*train[:2], test[0]])
    status, text = check(root)
    assert status == 2
    found = problems(text)
    assert "clips outside the training split: 1" in found[0]
    assert "split25.csv: has no clip of tram" in found[1]
    assert found[2:] == [
        "warning: evaluation_setup/split50.csv: recordings of which it has only some clips: "
        f"2 (audio/bus-paris-2-2-s1, audio/{halves[-1].scene}-paris-3-3-s1)",
        "warning: evaluation_setup/split80.csv: holds 50.0 % of the training clips",
        "warning: evaluation_setup/split80.csv: not nested, clips of split50.csv that it lacks: 1",
    ]


def test_a_scene_with_one_test_location_is_an_error(check, build, parts):
    train, test = parts
    status, text = check(build(train, [clip for clip in test if clip.location != "lyon-5"]))
    assert status == 2
    assert "scene 'bus' has 1 test location" in text


def test_all_problems_of_unreadable_tables_are_printed(check, root):
    (root / "meta.csv").unlink()
    (root / "evaluation_setup" / "fold1_train.csv").write_text("name\n")
    status, text = check(root)
    assert status == 2
    assert "meta.csv: no such file" in text
    assert "fold1_train.csv: missing column 'filename'" in text
    assert "not usable: 2 problems" in text


def test_the_sample_does_not_depend_on_the_order_of_the_clips(monkeypatch):
    monkeypatch.setattr(focusnet.dataset.check, "SAMPLE", 3)
    names = [f"audio/{number}.wav" for number in range(50)]
    chosen = {names[row] for row in focusnet.dataset.check._sample(names, range(50))}
    reversed_names = names[::-1]
    assert {
        reversed_names[row] for row in focusnet.dataset.check._sample(reversed_names, range(50))
    } == chosen
    assert len(chosen) == 3


def test_several_processes_find_the_same_problems_as_one(check, root, parts, monkeypatch):
    monkeypatch.setattr("focusnet.dataset.__main__._CLIPS_PER_WORKER", 12)
    monkeypatch.setattr("focusnet.dataset.check._CLIPS_PER_TASK", 5)
    (root / parts[1][-1].filename).unlink()
    alone = problems(check(root, "--workers", 1)[1])
    assert problems(check(root, "--workers", 2)[1]) == alone
    assert len(alone) == 1


def test_help_has_an_example_and_the_exit_statuses(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "python -m focusnet.dataset /data/TAU-urban" in text
    assert "not usable" in text
