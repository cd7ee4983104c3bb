"""The report on studies with known numbers: finished, running, failed, and not studies at all."""

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

from analysis.report import main
from focusnet.trial.logits import write_frame
from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.outputs.tables import write_tables
from study.space.validation import validate_space

SCRIPT = ROOT / "analysis" / "report.py"


def report_on(folder):
    """Run the command on ``folder``; the report's text, each run of blanks made one."""
    assert main([str(folder)]) == 0
    return (folder / "report" / "report.md").read_text()


def flat(text):
    return " ".join(text.split())


def with_space(*keys, value):
    space = copy.deepcopy(SPACE)
    inside = space
    for key in keys[:-1]:
        inside = inside[key]
    inside[keys[-1]] = value
    return space


@pytest.fixture
def study(tmp_path):
    return two_strata(tmp_path / "small")


def test_the_answer_has_one_row_a_stratum_with_the_winner_on_select(study):
    rows = table_rows(report_on(study), "Answer")
    assert rows[0] == [
        "subset",
        "trials",
        "weight",
        "threshold",
        "template %",
        "FocusNet %",
        "gain",
        "95 % interval",
        "warm classes",
        "only label warm %",
    ]
    without_interval = [[*row[:7], *row[8:]] for row in rows[1:]]
    assert without_interval == [
        ["25", "3/3", "2", "0.3", "58.3", "83.3", "+25.0", "1.50", "25.0"],
        ["100", "3/3", "4", "0.1", "58.3", "83.3", "+25.0", "1.50", "25.0"],
    ]
    # Each scene has two locations, of which one is drawn: the gain of a scene is that of either
    # location: bus 1/2 or 0, park 1 or -1/3, tram 1 or 0. The extremes have 1 draw of 8 each.
    assert [row[7] for row in rows[1:]] == ["-11.1 to +83.3"] * 2


def test_the_answer_says_what_it_does_not_say(study):
    text = flat(report_on(study))
    assert "subset 25: the best of 3 on select (weight 2, threshold 0.3) has 83.3 %" in text
    assert text.count("No evidence of a difference: the interval includes 0.") == 2
    assert "is not a claim about FocusNet. Each winner was picked as the best of 3 on" in text
    assert "every trial was trained once (seed 7)" in text
    assert "covers the choice of the 6 test locations only" in text
    assert "fresh seeds, and controls with the same budget" in text
    assert "placebo masks. Chance is 33.3 %." in text


@pytest.mark.parametrize(("before", "after", "word"), [("tram", "bus", "higher"),
                                                       ("bus", "tram", "lower")])  # fmt: skip
def test_an_interval_beside_zero_is_described_for_this_pair_of_trainings_only(
    tmp_path, before, after, word
):
    clips = [("bus", f"place-{i}", "a", before, after) for i in range(4)]
    folder = write_study(tmp_path / "s", [finished("t", 25)], predicted={"t": predictions(clips)})
    text = flat(report_on(folder))
    assert (
        f"FocusNet is {word} than its template on these locations, for this one pair of trainings."
        in text
    )
    assert "No evidence" not in text


def test_all_trials_are_listed_best_first_and_the_winner_marked(study):
    rows = table_rows(report_on(study), "Trials")
    assert [row[-1] for row in rows[1:]] == ["b", "c", "a", "a", "b", "c"]
    assert rows[1] == [
        "25", "2", "0.3", "50.0", "70.0", "+20.0", "1.50", "25.0", "90", "finished, winner", "b",
    ]  # fmt: skip
    assert [row[-2] for row in rows[2:]] == ["finished", "finished", "finished, winner", "finished",
                                             "finished"]  # fmt: skip


def test_confusions_and_devices_are_of_the_largest_subset(study):
    # The smaller subset's winner has other predictions.
    other = predictions([("bus", "lyon-1", "a", "bus", "bus"), ("park", "lyon-2", "b", "park",
                                                                "park")])  # fmt: skip
    write_frame(study / "predictions" / "t25-b.parquet", other)
    text = report_on(study)
    assert "The winner of subset 100 on report." in text
    assert table_rows(text, "Confusions")[1:] == [
        ["bus / tram", "50.0", "1", "12.5", "1", "-37.5"],
        ["bus / park", "12.5", "2", "0.0", "3", "-12.5"],
        ["park / tram", "0.0", "3", "12.5", "2", "+12.5"],
    ]
    assert table_rows(text, "Devices") == [
        ["device", "clips", "template %", "FocusNet %", "change"],
        ["a", "4", "25.0", "100.0", "+75.0"],
        ["b", "3", "66.7", "66.7", "0.0"],
        ["s1", "3", "100.0", "66.7", "-33.3"],
        ["real (a, b, c)", "-", "50.0", "75.0", "+25.0"],
    ]


def test_provenance_is_told(study):
    text = flat(report_on(study))
    for part in (
        "seed: 7",
        "code: git 0123456789ab",
        "hardware: A processor, 2 cores, 8 GiB memory, no GPU, Linux 6",
        "versions: Python 3.11.7, torch 2.11.0, ray 2.60.0",
        "time: 6.0 minutes of 1 ended run; 9.0 minutes of 6 finished trials, added up",
        "templates: 2 trained and 4 reused by the finished trials, 2 distinct",
        "60 clips at 32000 Hz, 3 scenes: bus, park, tram",
        "fingerprint fedcba",
        "2 clips skipped: audio/x.wav: empty; audio/y.wav: stereo",
        "random, 3 trials for each data.subset, maximises focus/select/macro_accuracy",
    ):
        assert part in text
    assert "What is missing" not in text


def test_what_changed_between_runs_is_told_once_each(study):
    path = study / "provenance.json"
    record = json.loads(path.read_text())
    changed = copy.deepcopy(RUN) | {"git": {"revision": "f" * 40, "dirty": True}}
    record["runs"] += [changed, changed]
    path.write_text(json.dumps(record))
    text = flat(report_on(study))
    expected = f"code: git 0123456789ab | then: git {'f' * 12} with uncommitted changes"
    assert expected in text.replace("\\|", "|")
    assert text.count("A processor") == 1


def test_the_console_shows_the_same_numbers(study, capsys):
    assert main([str(study)]) == 0
    out = capsys.readouterr().out
    assert "58.3        83.3  +25.0" in out
    assert f"[{study}/report/gains.png]" in out
    written = [str(study / "report" / name) for name in ("report.html", "report.md")]
    assert out.rstrip().endswith(f"Written: {', '.join(written)}")


def test_figures_that_the_report_names_are_there(study):
    text = report_on(study)
    drawn = {path.name for path in (study / "report").glob("*.png")}
    assert drawn == {
        f"{name}.png"
        for name in ("classes", "confusions", "devices", "gains", "learning_curves",
                     "subset_curve", "warm_classes")
    }  # fmt: skip
    assert all(f"]({name})" in text for name in drawn)


def test_a_study_without_strata_has_one_row(tmp_path):
    space = with_space("search", "stratify", value=None)
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
    assert "all trials: of 3 trials: 1 not begun." in text


def test_a_study_with_no_table_yet_says_so(tmp_path):
    folder = write_study(tmp_path / "s", None, run=RUN | {"ended": None, "outcome": None})
    text = flat(report_on(folder))
    assert "No trial has finished yet: there is no answer." in text
    assert "The study is running since 2026-01-02T03:00:00+00:00 (or was killed)" in text
    assert "subset 25: of 3 trials: 3 not begun." in text
    assert "No trial has been handed out yet." in text
    assert not list((folder / "report").glob("*.png"))


def test_trials_that_failed_were_stopped_or_go_on_are_told(tmp_path):
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
    assert "subset 100: of 3 trials: 1 running, 1 waiting, 1 not begun." in words
    assert "failed: t25-bad: ValueError: the loss is not finite" in words
    assert "go on with: python study/run.py --space small.yaml --resume" in words
    statuses = {row[-1]: row[-2] for row in table_rows(text, "Trials")[1:]}
    assert statuses == {
        "done": "finished, winner",
        "stopped": "stopped (focus epoch 2/4)",
        "bad": "failed",
        "on": "running",
        "next": "pending",
    }
    # A gain at another epoch than its template's is none.
    assert next(row for row in table_rows(text, "Trials") if row[-1] == "stopped")[5] == "-"


def test_a_winner_without_predictions_is_reported_from_the_table(study):
    (study / "predictions" / "t100-a.parquet").unlink()
    (study / "predictions" / "t25-b.parquet").write_bytes(b"cut short")
    text = report_on(study)
    row = table_rows(text, "Answer")[2]
    assert row[4:8] == ["40.0", "45.0", "+5.0", "-"]
    assert "predictions/t100-a.parquet is missing" in text
    assert "predictions/t25-b.parquet cannot be read" in text
    assert "There are no predictions of a finished trial yet." in text


def test_figures_of_an_earlier_state_do_not_stay(study):
    report_on(study)
    for path in (study / "predictions").iterdir():
        path.unlink()
    report_on(study)
    assert not (study / "report" / "confusions.png").exists()


def test_masks_that_hold_the_label_alone_or_everything_are_noted(tmp_path):
    trials = [
        finished("a", 25, **{"focus/warm_classes": 1.0499}),
        finished("b", 100, **{"focus/warm_classes": 2.96}),
    ]
    folder = write_study(tmp_path / "s", trials, predicted={"a": predictions(), "b": predictions()})
    text = flat(report_on(folder))
    assert "subset 25: the winner's masks hold 1.05 classes on average" in text
    assert "there FocusNet cannot differ from label smoothing" in text
    assert "subset 100: the winner's masks hold all 3 classes" in text


def test_masks_in_between_are_not_noted(study):
    assert "the winner's masks" not in report_on(study)


def test_a_winner_at_the_edge_of_its_range_is_noted(tmp_path):
    trials = [finished("a", 25, weight=9.9, threshold=0.3)]
    text = flat(report_on(write_study(tmp_path / "s", trials)))
    assert (
        "the winner's focus.weight = 9.9 is at the upper edge of its range (loguniform 0.1 to 10)"
        in text
    )
    assert "focus.threshold = 0.3 is at" not in text


def test_a_grid_asks_for_as_many_trials_as_it_has_points(tmp_path):
    space = with_space("search", "trials", value=None)
    space["space"]["focus.weight"] = {"choice": [0.5, 1.0, 2.0]}
    space["space"]["focus.threshold"] = {"choice": [0.1, 0.2]}
    text = report_on(write_study(tmp_path / "s", [finished("a", 25)], space=space))
    assert [row[1] for row in table_rows(text, "Answer")[1:]] == ["1/6", "0/6"]


def test_controls_do_not_count_as_trials_of_the_search(tmp_path):
    control = finished("c", 25, select=0.99) | {"arm": "label_smoothing"}
    text = report_on(write_study(tmp_path / "s", [finished("a", 25), control]))
    assert table_rows(text, "Answer")[1][1] == "1/3"
    assert [row[-1] for row in table_rows(text, "Trials")[1:]] == ["a"]


def test_it_reads_what_the_study_writes(tmp_path):
    ledger = Ledger(tmp_path / "s")
    space = validate_space(SPACE, "small.yaml")
    ledger.begin(SPACE)
    write_tables(ledger, space, running=())
    assert "No trial has been handed out yet." in report_on(ledger.folder)
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
def test_a_wrong_folder_is_one_message_and_exit_2(tmp_path, capsys, prepare, message):
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
    # Each file is one module under one name.
    assert "No module named 'effects'" in done.stderr


def test_the_console_is_free_of_warnings_and_a_closed_pipe_is_no_error(study):
    done = subprocess.run(
        [sys.executable, "-W", "always", SCRIPT, study], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    line = f"'{sys.executable}' '{SCRIPT}' '{study}' | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "python analysis/report.py results/demo" in capsys.readouterr().out


def test_two_reports_on_one_study_are_the_same(study):
    assert report_on(study) == report_on(study)
