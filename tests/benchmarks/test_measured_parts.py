"""The parts of benchmarks/run.py on tiny data, and the table that it writes."""

import json
import sys

import numpy as np
import pytest
import torch

from benchmarks import run
from benchmarks.measure import Row, Sample, Spread
from benchmarks.parts import (
    caching,
    data_path,
    front_end,
    gpu_step,
    inference,
    scale,
    tau_layout,
    train_step,
)
from benchmarks.table import as_markdown, as_text
from focusnet.config import ModelConfig
from focusnet.dataset.layout import read_dataset
from focusnet.dataset.waveforms import open_waveforms
from focusnet.model.passt import build_model


def test_both_data_paths_yield_the_same_clips(tmp_path):
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


@pytest.mark.filterwarnings("ignore:stft with return_complex=False")  # hear21passt's
def test_both_front_ends_agree():
    waveforms = front_end.noise(3)
    difference = front_end.our_mel(False)(waveforms) - front_end.their_mel(False)(waveforms)
    assert difference.abs().max() < 1e-4
    assert front_end.our_mel(True).training
    assert front_end.their_mel(True).training


def row(**changes) -> Row:
    settings = {"what": "log-mel", "unit": "clips per CPU-second", "how": "1 thread"}
    measured = {name: Spread(4.0, 3.0, 5.0) for name in ("ours", "baseline", "ratio")}
    return Row(**settings | measured | {"minimum": 3.5, "aim": 4.5} | changes)


@pytest.fixture
def one_part(monkeypatch):
    """run.py with a single part; gives its list of rows."""
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


def test_quick_writes_no_files(one_part, tmp_path):
    assert run.main(["--out", str(tmp_path), "--only", "front_end", "--quick"]) == 0
    assert not list(tmp_path.iterdir())


def test_a_ratio_below_the_required_one_is_named_and_fails(one_part, tmp_path, capsys):
    one_part[0] = row(ratio=Spread(3.4, 3.0, 4.0))
    assert run.main(["--out", str(tmp_path), "--only", "front_end"]) == 1
    assert "slower than required: log-mel" in capsys.readouterr().err


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


def test_a_skipped_row_states_the_reason():
    skipped = row(ours=None, baseline=None, ratio=None, skipped="torch sees no GPU here")
    part = {**run.environment(), "seconds": 1, "rows": [vars(skipped)]}
    assert "skipped: torch sees no GPU here" in as_text({"gpu": part})
    assert "| skipped |  |  | 3.5 (4.5) | skipped: torch sees no GPU here |" in as_markdown(
        {"gpu": part}
    )


def test_both_training_steps_train_the_same_network():
    ours = train_step.our_steps(2, "fp32", size="tiny", frames=100)
    plain = train_step.plain_steps(2, "fp32", size="tiny", frames=100)
    assert ours() == plain() == 2
    model = build_model(ModelConfig(size="tiny", weights="none"), 10, class_tokens_only=True)
    theirs = train_step.plain_model("tiny").eval()
    theirs.load_state_dict(model.state_dict())
    spec = train_step.spectrograms(2, 100)
    assert torch.allclose(model.eval()(spec)[0], theirs(spec)[0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "class_tokens_only", "gflop"),
    # 56 tokens at 32 kHz, 80 at 44.1 kHz; class tokens only in the last block saves 7 %.
    [(100, False, 29.0), (138, False, 41.6), (100, True, 27.0), (138, True, 38.8)],
)
def test_the_flops_of_a_training_clip_are_as_documented(frames, class_tokens_only, gflop):
    flops = train_step.step_flops("passt_s", frames, class_tokens_only=class_tokens_only)
    assert flops / 1e9 == pytest.approx(gflop, abs=0.05)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("audio_on_gpu", [False, True])
def test_both_steps_of_the_gpu_part_train_on_all_clips(workers, audio_on_gpu, tmp_path):
    data_path.write_clips(tmp_path, 5)
    settings = {"folder": tmp_path, "batch_size": 3, "workers": workers}
    settings["audio_on_gpu"] = audio_on_gpu
    settings |= {"size": "tiny", "device": "cpu"}
    assert gpu_step.our_steps(**settings)() == 5
    assert gpu_step.plain_steps(**settings)() == 5


def test_a_step_and_its_matrix_products_are_counted_in_the_same_unit():
    clip = train_step.step_flops("tiny", 100, class_tokens_only=True)
    assert train_step.our_flops(3, "fp32", size="tiny", frames=100)() == pytest.approx(
        3 * clip / 1e9
    )
    assert train_step.product_flops(2, "bf16", repeats=3)() == 3 * 2 * 160 * 768 * 3072 / 1e9


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_part_is_skipped_without_a_gpu():
    (row,) = gpu_step.measure()
    assert row.skipped == "no GPU here"
    part = {**run.environment(), "seconds": 0, "rows": [vars(row)]}
    assert "| skipped |  |  | 8 | skipped: no GPU here |" in as_markdown({"gpu_step": part})


def test_the_peak_of_a_card_is_that_of_its_data_sheet():
    assert gpu_step.peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert gpu_step.peak_tflops("NVIDIA H100 PCIe") == 756
    assert gpu_step.peak_tflops("NVIDIA H200") == 989
    assert gpu_step.peak_tflops("NVIDIA A100-SXM4-40GB") == 312
    assert gpu_step.peak_tflops("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    assert gpu_step.peak_tflops("NVIDIA GeForce RTX 4090") is None


@pytest.mark.parametrize(
    ("compiled", "asked"), [(None, "plain"), (9_000.0, "plain"), (12_000.0, "compiled")]
)
def test_a_gpu_is_measured_in_clips_in_memory_and_in_flops(compiled, asked, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(gpu_step, "write_clips", lambda folder, clips: None)
    monkeypatch.setattr(gpu_step, "step_flops", lambda *size, **kind: 40e9)

    def compared(ours, plain, settings, **options):
        rate = compiled if settings.get("compiled") else 10_000.0
        if rate is None:
            raise RuntimeError("a measured process failed:\nTraceback\nno compiler")
        return tuple(Spread(one, one, one) for one in (rate, 1_000.0, rate / 1_000))

    monkeypatch.setattr(gpu_step, "compare", compared)
    monkeypatch.setattr(gpu_step, "alone", lambda *a, **k: [Sample(1.0, 1.0, 9.3e9)])
    rows = {row.what: row for row in gpu_step.measure()}
    steps = {name: rows[f"training step on a GPU, PaSST-S, {name}"] for name in ("plain", asked)}
    assert "peak memory 9.3 GB" in steps["plain"].how
    assert steps[asked].minimum == 8
    (skipped,) = [row.skipped for row in rows.values() if row.skipped] or [None]
    assert skipped == (None if compiled else "no compiler")
    shares = {name.rpartition(", ")[2]: row for name, row in rows.items() if "share" in name}
    assert shares["plain"].ours.median == pytest.approx(400)  # TFLOP/s
    assert shares["plain"].ratio.median == pytest.approx(400 / 989)
    held = [name for name, row in rows.items() if row.minimum]
    assert len(held) == 2
    assert all(name.endswith(f", {asked}") for name in held)
    assert (shares[asked].minimum, shares[asked].aim) == (0.25, 0.38)


def test_both_evaluations_count_their_clips():
    assert inference.our_logits(3, "fp32", size="tiny")() == 3
    assert inference.plain_logits(3, "fp32", size="tiny")() == 3


@pytest.mark.parametrize("bits", caching.BITS)
@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_both_caches_hold_the_same_samples(rate, bits, tmp_path):
    caching.write_data_set(tmp_path, 400, bits)
    assert caching.their_cache(tmp_path, rate)() == 400
    cached = open_waveforms(
        read_dataset(tmp_path),
        sample_rate=rate,
        cache=tmp_path / "cache",
        on_bad_clip="error",
        workers=1,
        progress=False,
    )
    for row, (name, *_) in enumerate(tau_layout.clip_names(3)):
        expected = caching.load_clip(tmp_path / name, rate)
        assert np.array_equal(caching.load_without_librosa(tmp_path / name, rate), expected)
        ours = cached.samples[cached.position[row]] * np.float32(cached.scale)
        assert np.array_equal(ours, expected)


def test_a_sparse_cache_is_accepted_as_a_decoded_data_set(tmp_path):
    scale.write_data_set(tmp_path, 600)
    assert scale.start_up(tmp_path)() == 500
    assert scale.batches(tmp_path)() == 500
    stored = next(tmp_path.glob("cache/waveforms/*/samples.npy")).stat()
    assert stored.st_size > 600 * 44_100 * 2
    assert stored.st_blocks * 512 < stored.st_size / 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_array_counts_as_memory_of_the_process(tmp_path):
    np.save(tmp_path / "shared.npy", np.ones((20, 44_100), np.int16))
    share = scale.mapped(tmp_path / "shared.npy")()
    size = (tmp_path / "shared.npy").stat().st_size
    assert share == pytest.approx(size, rel=0.1)
