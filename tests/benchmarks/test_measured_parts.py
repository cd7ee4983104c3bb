"""Each part of benchmarks/run.py on tiny sizes: both sides do the same; the table has a shape."""

import json

import numpy as np
import pytest
import torch

from benchmarks import data_path, front_end, run
from benchmarks.measure import Row, Spread, compare
from benchmarks.table import as_markdown, as_text


def test_both_data_paths_give_the_same_clips(tmp_path):
    data_path.write_clips(tmp_path, 12, samples=600)
    settings = {"folder": tmp_path, "responses": 1, "batch_size": 5, "shuffle": False}
    settings |= {"roll": 0, "probability": 1.0}
    ours = list(data_path.our_batches(**settings)())
    theirs = list(data_path.their_batches(**settings)())
    assert [len(batch) for batch in ours] == [len(batch) for batch in theirs] == [5, 5, 2]
    assert torch.allclose(torch.cat(ours), torch.cat(theirs), atol=1e-4)
    plain = np.load(tmp_path / "samples.npy")[0] / 32768
    assert not np.allclose(ours[0][0], plain, atol=1e-2), "no response was applied"


def test_both_data_paths_roll_within_the_range(tmp_path):
    data_path.write_clips(tmp_path, 6, samples=50)
    settings = {"folder": tmp_path, "responses": 0, "roll": 3, "shuffle": False}
    stored = torch.from_numpy(np.load(tmp_path / "samples.npy") / np.float32(32768))
    for batches in (data_path.our_batches(**settings), data_path.their_batches(**settings)):
        for rolled, clip in zip(torch.cat(list(batches())), stored, strict=True):
            assert any(torch.equal(rolled, clip.roll(shift)) for shift in range(-3, 4))


def test_both_front_ends_agree():
    waveforms = front_end.noise(3)
    difference = front_end.our_mel(False)(waveforms) - front_end.their_mel(False)(waveforms)
    assert difference.abs().max() < 1e-4
    assert front_end.our_mel(True).training
    assert front_end.their_mel(True).training


def counting(step):
    """One side of a comparison: it says how far it has counted."""
    counted = [0.0]

    def work():
        sum(i * i for i in range(20_000))  # for a CPU time above 0
        counted[0] += step
        return counted[0]

    return work


def failing():
    raise ValueError("no such data")


def test_sides_take_turns_after_one_unmeasured_turn():
    one, other, ratio = compare(counting, counting, {"step": 2}, rounds=3, clock="wall")
    assert one.low > 0
    assert other.low <= other.median <= other.high
    assert ratio.low <= ratio.median <= ratio.high


def test_a_side_that_fails_is_named_with_its_error():
    with pytest.raises(RuntimeError, match="no such data"):
        compare(failing, failing, {}, rounds=1)


def row(**changes) -> Row:
    settings = {"what": "log-mel", "unit": "clips per CPU-second", "how": "1 thread"}
    measured = {name: Spread(4.0, 3.0, 5.0) for name in ("ours", "baseline", "ratio")}
    return Row(**settings | measured | {"minimum": 3.5, "aim": 4.5} | changes)


@pytest.fixture
def one_part(monkeypatch):
    """run.py with one part, whose rows a test chooses."""
    rows = [row()]
    monkeypatch.setattr(run, "PARTS", {"front_end": "log-mel"})
    monkeypatch.setattr(front_end, "measure", lambda quick: rows)
    return rows


def test_the_command_writes_table_and_figures(one_part, tmp_path, capsys):
    assert run.main(["--out", str(tmp_path), "--only", "front_end"]) == 0
    assert "log-mel  4 (3 to 5)" in capsys.readouterr().out
    part = json.loads((tmp_path / "results.json").read_text())["parts"]["front_end"]
    assert part["rows"][0]["ratio"] == {"median": 4.0, "low": 3.0, "high": 5.0}
    assert set(part) >= {"date", "cpu", "cores", "versions", "seconds"}
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    assert "| log-mel | 4 (3 to 5) | 4 (3 to 5) | 4 (3 to 5) | 3.5 (4.5) |" in "\n".join(lines)


def test_quick_writes_nothing(one_part, tmp_path):
    assert run.main(["--out", str(tmp_path), "--only", "front_end", "--quick"]) == 0
    assert not list(tmp_path.iterdir())


def test_a_ratio_below_its_minimum_is_named_and_fails(one_part, tmp_path, capsys):
    one_part[0] = row(ratio=Spread(3.4, 3.0, 4.0))
    assert run.main(["--out", str(tmp_path), "--only", "front_end"]) == 1
    assert "below its minimum: log-mel" in capsys.readouterr().err


def test_figures_of_other_parts_are_kept(one_part, tmp_path, monkeypatch):
    run.main(["--out", str(tmp_path), "--only", "front_end"])
    monkeypatch.setattr(run, "PARTS", {"data_path": "batches", "front_end": "log-mel"})
    monkeypatch.setattr(data_path, "measure", lambda quick: [row(what="roll")])
    run.main(["--out", str(tmp_path), "--only", "data_path"])
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert list(parts) == ["data_path", "front_end"]


def test_an_unknown_part_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        run.main(["--only", "front_end,frontend"])
    assert "unknown part frontend; parts: data_path, front_end" in capsys.readouterr().err


def test_what_could_not_be_measured_says_why():
    skipped = row(ours=None, baseline=None, ratio=None, skipped="torch sees no GPU here")
    part = {**run.circumstances(), "seconds": 1, "rows": [vars(skipped)]}
    assert "skipped: torch sees no GPU here" in as_text({"gpu": part})
    assert "| skipped |  |  | 3.5 (4.5) | skipped: torch sees no GPU here |" in as_markdown(
        {"gpu": part}
    )
