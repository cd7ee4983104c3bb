"""The command for a GPU machine: tried on a CPU, with a tiny network."""

import json
import subprocess
import sys

import pytest
from paths import ROOT

from benchmarks import gpu_probe

PROBE = [sys.executable, str(ROOT / "benchmarks" / "gpu_probe.py")]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_each_figure_is_a_line_of_json_on_the_terminal_and_in_the_file(tmp_path):
    out = tmp_path / "probe.jsonl"
    items = "checkpoint,memory,logits"
    done = subprocess.run(
        [*PROBE, "--small", "--only", items, "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done.stdout)
    assert found == lines(out.read_text())
    assert list(dict.fromkeys(one["item"] for one in found)) == items.split(",")
    assert not [one for one in found if "error" in one]
    assert {(one["precision"], one["batch_size"]) for one in found if "batch_size" in one} == {
        (precision, size) for precision in ("bf16", "fp32") for size in (64, 128, 256)
    }
    assert [one for one in found if "GB" in one], "a checkpoint was written"


def test_an_item_that_fails_is_a_line_and_the_others_go_on(monkeypatch, capfd):
    def broken(*, small):
        yield {"before": 1}
        raise RuntimeError("no more")

    monkeypatch.setattr("benchmarks.gpu.device.device", broken)
    assert gpu_probe.main(["--item", "device"]) == 1
    assert lines(capfd.readouterr().out) == [
        {"item": "device", "before": 1},
        {"item": "device", "error": "RuntimeError: no more"},
    ]


def test_no_item_is_begun_after_the_time_is_over(capfd):
    assert gpu_probe.main(["--only", "device,step", "--seconds", "0"]) == 0
    assert [one["skipped"] for one in lines(capfd.readouterr().out)] == ["0 s are over"] * 2


def test_an_unknown_item_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        gpu_probe.main(["--only", "device,speed"])
    assert stop.value.code == 2
    assert "no such item: speed" in capsys.readouterr().err
