"""Tests of the report on studies with known numbers: finished, running, failed, and no study."""

import copy
import json
import subprocess
import sys

import pytest
from paths import ROOT
from results_folder import (
    RUN,
    SELECT,
    SPACE,
    epochs,
    finished,
    predictions,
    table_rows,
    two_strata,
    unfinished,
    write_study,
)
from section_text import flat

from analysis.read_study import read_study
from analysis.render.document import Section, Table, to_short_text
from analysis.report import build_report, main
from focusnet.trial.logits import write_frame
from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.outputs.tables import write_tables
from study.space.validation import validate_space

SCRIPT = ROOT / "analysis" / "report.py"


def report_on(folder):
    """Run the command on ``folder``; return the report as Markdown."""
    assert main([str(folder)]) == 0
    return (folder / "report" / "report.md").read_text()


@pytest.fixture
def study(tmp_path):
    return two_strata(tmp_path / "small")


def test_the_console_shows_the_same_numbers(study, capsys):
    assert main([str(study), "--full"]) == 0
    out = capsys.readouterr().out
    assert "58.3        83.3  +25.0" in out
    assert f"[{study}/report/gains.png]" in out
    written = [
        str(study / "report" / name) for name in ("report.html", "report.md", "explore.html")
    ]
    assert out.rstrip().endswith(f"Written: {', '.join(written)}")


def test_figures_that_the_report_links_to_are_written(study):
    text = report_on(study)
    drawn = {path.name for path in (study / "report").glob("*.png")}
    assert drawn == {
        f"{name}.png"
        for name in ("classes", "confusions", "devices", "gains", "learning_curves",
                     "subset_curve", "warm_classes")
    }  # fmt: skip
    assert all(f"]({name})" in text for name in drawn)


def test_a_study_without_strata_has_one_row(tmp_path):
    space = copy.deepcopy(SPACE)
    space["search"]["stratify"] = None
    del space["space"]["data.subset"]
    trials = [finished("a", 100, select=0.6), finished("b", 100, select=0.7)]
    for trial in trials:
        del trial["data.subset"]
    folder = write_study(
        tmp_path / "s", trials, space=space, predicted={"b": predictions()},
        lines=epochs("b", "focus", [0.1, 0.2]),
    )  # fmt: skip
    text = report_on(folder)
    rows = table_rows(text, "Answer")
    assert rows[0][0] == "trials"
    assert [row[:6] for row in rows[1:]] == [["2/3", "1", "0.1", "58.3", "83.3", "+25.0"]]
    assert "- the best of 2 on select" in text
    assert "all trials: of 3 trials: 1 not started." in text


def test_a_study_with_no_table_yet_says_so(tmp_path):
    folder = write_study(tmp_path / "s", None, run=RUN | {"ended": None, "outcome": None})
    text = flat(report_on(folder))
    assert "No trial has finished yet: there is no answer." in text
    assert "The study has been running since 2026-01-02T03:00:00+00:00, or was killed" in text
    assert "subset 25: of 3 trials: 3 not started." in text
    assert "No trial has started yet." in text
    assert not list((folder / "report").glob("*.png"))


def test_failed_stopped_and_running_trials_are_shown(tmp_path):
    stopped = unfinished("t25-stopped", 25, "stopped") | {
        "template/select/macro_accuracy": 0.5,
        SELECT: 0.9,  # better than the winner, but it did not finish
    }
    trials = [
        finished("t25-done", 25),
        stopped,
        unfinished("t25-bad", 25, "failed", "ValueError: the loss is not finite"),
        unfinished("t100-on", 100, "running"),
        unfinished("t100-next", 100, "pending"),
    ]
    lines = [
        *epochs("t25-done", "focus", [0.2, 0.6]),
        *epochs("t25-stopped", "template", [0.1, 0.2, 0.3, 0.4]),
        *epochs("t25-stopped", "focus", [0.1, 0.2, 0.3, 0.9])[:2],
    ]
    folder = write_study(
        tmp_path / "s", trials, lines=lines, predicted={"t25-done": predictions()},
        run=RUN | {"outcome": "interrupted"},
    )  # fmt: skip
    text = report_on(folder)
    words = flat(text)
    rows = table_rows(text, "Answer")
    assert rows[1][:2] == ["25", "1/3"]
    assert rows[2] == ["100", "0/3", *["-"] * 8]
    assert "picked as the best of 2 on select" in words
    assert "subset 25: of 3 trials: 1 stopped early by the scheduler, 1 failed." in words
    assert "subset 100: no finished trial yet." in words
    assert "subset 100: of 3 trials: 1 running, 1 waiting, 1 not started." in words
    assert "failed: t25-bad: ValueError: the loss is not finite" in words
    assert "continue with: python study/run.py --space small.yaml --resume" in words
    statuses = {row[-1]: row[-2] for row in table_rows(text, "Trials")[1:]}
    assert statuses == {
        "done": "finished, winner",
        "stopped": "stopped (focus epoch 2/4)",
        "bad": "failed",
        "on": "running",
        "next": "pending",
    }
    # No gain: the template was trained for more epochs.
    assert next(row for row in table_rows(text, "Trials") if row[-1] == "stopped")[5] == "-"


def test_a_winner_without_predictions_is_reported_from_the_table(study):
    (study / "predictions" / "t100-a.parquet").unlink()
    (study / "predictions" / "t25-b.parquet").write_bytes(b"cut short")
    text = report_on(study)
    row = table_rows(text, "Answer")[2]
    assert row[4:8] == ["40.0", "45.0", "+5.0", "-"]
    assert "predictions/t100-a.parquet is missing" in text
    assert "predictions/t25-b.parquet cannot be read" in text
    assert "No finished trial has predictions yet." in text


def test_figures_of_an_earlier_report_are_removed(study):
    report_on(study)
    for path in (study / "predictions").iterdir():
        path.unlink()
    report_on(study)
    assert not (study / "report" / "confusions.png").exists()


def test_the_report_reads_what_the_study_writes(tmp_path):
    ledger = Ledger(tmp_path / "s")
    space = validate_space(SPACE, "small.yaml")
    ledger.begin(SPACE)
    write_tables(ledger, space, running=())
    assert "No trial has started yet." in report_on(ledger.folder)
    for index, (name, error) in enumerate([("a", None), ("b", "ValueError: why")]):
        row = finished(name, 25)
        parameters = {path: row.pop(path) for path in SPACE["space"]}
        ledger.hand_out(Trial(name, "focusnet", 25, index, 7, parameters))
        folder = ledger.trial_folder(name)
        record_start(folder)
        if error:
            record_end(folder, "failed", error)
            continue
        lines = [*epochs(name, "template", [0.4, 0.5]), *epochs(name, "focus", [0.5, 0.6])]
        (folder / "epochs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        write_frame(folder / "predictions.parquet", predictions())
        metrics = {key: value for key, value in row.items() if isinstance(value, float)}
        result = {"metrics": metrics, "template_key": "k", "template_reused": False, "skipped": []}
        (folder / "result.json").write_text(json.dumps(result))
    write_tables(ledger, space, running=())
    text = report_on(ledger.folder)
    assert table_rows(text, "Answer")[1][:7] == ["25", "1/3", "1", "0.1", "58.3", "83.3", "+25.0"]
    assert "failed: b: ValueError: why" in text
    assert "provenance.json is missing" in text
    assert "templates: 1 trained and 0 reused" in text
    assert (ledger.folder / "report" / "learning_curves.png").is_file()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "there is no such folder"),
        (lambda folder: folder.mkdir(), "it has no space.yaml; give a folder such as"),
        (lambda folder: two_strata(folder / "inner"), "it holds the studies: inner"),
        (lambda folder: folder.write_text("a file"), "there is no such folder"),
        (
            lambda folder: (two_strata(folder) / "trials.parquet").write_bytes(b"no table"),
            "its files cannot be read",
        ),
        (
            lambda folder: (two_strata(folder) / "space.yaml").write_text("a: [b"),
            "its files cannot be read",
        ),
        (
            lambda folder: (two_strata(folder) / "space.yaml").write_text("a: b"),
            "its files cannot be read",
        ),
    ],
)
def test_a_wrong_folder_is_an_error_with_exit_status_2(tmp_path, capsys, prepare, message):
    folder = tmp_path / "given"
    prepare(folder)
    assert main([str(folder)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert str(folder) in captured.err
    assert captured.out == ""


def test_the_script_runs_from_anywhere_without_the_rest_of_the_project(study, tmp_path):
    check = (
        "import runpy, sys; sys.argv = ['report.py', sys.argv[1]]\n"
        f"sys.path[0] = {str(SCRIPT.parent)!r}\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print('LOADED', *(m for m in ('torch', 'ray', 'optuna', 'lightning', 'study')"
        " if m in sys.modules))\n"
        "import effects\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, study], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1].strip() == "LOADED"
    # The script's own folder must not be a place to import from.
    assert "No module named 'effects'" in done.stderr


def test_there_are_no_warnings_and_a_closed_pipe_is_no_error(study):
    done = subprocess.run(
        [sys.executable, "-W", "always", SCRIPT, study], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    line = f"'{sys.executable}' '{SCRIPT}' '{study}' | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_terminal_shows_the_answer_in_fifteen_lines_and_where_the_rest_is(study, capsys):
    assert main([str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 15 + 3
    _, sections = build_report(read_study(study))
    first = sections[0].blocks[0]
    first = first if isinstance(first, str) else first.items[0]
    assert first.split()[:6] == " ".join(lines[2:]).removeprefix("- ").split()[:6]
    assert f"Written: {study / 'report' / 'report.html'}" in lines[-2]
    assert lines[-1] == "They hold the whole report; --full prints it here."


def test_an_announcement_of_what_does_not_fit_is_left_out():
    section = Section("Answer", ["One.", "The teachers:", "Two.", Table(("a",), [["1"]])])
    assert to_short_text("Title", section, 7) == "Title\n\nOne.\n\nThe teachers:\n\nTwo."
    assert to_short_text("Title", section, 6) == "Title\n\nOne."
    assert to_short_text("Title", section, 2) == "Title"


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "python analysis/report.py results/demo" in capsys.readouterr().out


def test_a_second_report_is_identical(study):
    assert report_on(study) == report_on(study)
