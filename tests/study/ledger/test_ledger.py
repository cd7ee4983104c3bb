"""The results folder is the only record of a study's state."""

import gc
import json
import os
import subprocess
import sys
import weakref

import pandas as pd
import pytest

from focusnet.errors import ConfigError, DataError, ReportNotDelivered
from focusnet.system.atomic import write_json
from study.ledger.ledger import Ledger, Trial, read_trial, record_end, record_start
from study.outputs.tables import write_tables
from study.search.searcher import LedgerSearch
from study.worker.trainable import _checking_delivery, conduct_trial

METRIC = "focus/select/macro_accuracy"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "results" / "small")


def hand_out(ledger, name, index=0, subset=25):
    parameters = {"data.subset": subset, "focus.weight": 0.1 + index}
    ledger.hand_out(Trial(name, "focusnet", subset, index, 0, parameters))
    return ledger.trial_folder(name)


def finish(folder, value=0.5):
    metrics = {METRIC: value, "gain/select/macro_accuracy": 0.01, "seconds": 2.5}
    content = {"metrics": metrics, "template_key": "k", "template_reused": True, "skipped": ["x"]}
    (folder / "result.json").write_text(json.dumps(content))


def test_a_trial_is_pending_then_running_then_ended(ledger):
    folder = hand_out(ledger, "a")
    assert read_trial(folder).status == "pending"
    assert record_start(folder) == 1
    assert read_trial(folder).status == "running"
    assert record_start(folder) == 2
    assert read_trial(folder).attempts == 2
    record_end(folder, "failed", "why")
    assert (read_trial(folder).status, read_trial(folder).error) == ("failed", "why")


def test_a_trial_with_results_is_finished_even_if_its_worker_died(ledger):
    folder = hand_out(ledger, "a")
    record_start(folder)
    finish(folder)
    assert read_trial(folder).status == "finished"
    record_end(folder, "failed", "its worker died")
    assert (read_trial(folder).status, read_trial(folder).error) == ("finished", None)


def test_parameters_come_back_in_full_precision(ledger):
    parameters = {"focus.weight": 0.1 + 0.2, "template.lr": 1e-5, "x": None, "y": True}
    ledger.hand_out(Trial("a", "focusnet", None, 0, 0, parameters))
    assert ledger.trial("a").parameters == parameters


def test_the_tables_have_a_row_for_every_trial_in_any_state(ledger, make_space):
    names = ("done", "stopped", "failed", "running", "left", "waiting")
    folders = {name: hand_out(ledger, name, index) for index, name in enumerate(names)}
    for name in names[:5]:
        record_start(folders[name])
    finish(folders["done"])
    (folders["done"] / "predictions.parquet").write_bytes(b"logits")
    epochs = [
        {"stage": "template", "epoch": 1, "template/select/macro_accuracy": 0.3, "seconds": 1.0},
        {"stage": "focus", "epoch": 1, METRIC: 0.2},
        {"stage": "focus", "epoch": 2, METRIC: 0.4},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in epochs)
    (folders["stopped"] / "epochs.jsonl").write_text(lines + '{"stage": "focus", "epo')
    record_end(folders["stopped"], "stopped")
    record_end(folders["failed"], "failed", "why")
    write_tables(ledger, make_space(), {"running"})
    table = pd.read_parquet(ledger.folder / "trials.parquet").set_index("trial")
    assert table["status"].to_dict() == {
        "done": "finished",
        "stopped": "stopped",
        "failed": "failed",
        "running": "running",
        "left": "pending",  # begun, but no worker has it now
        "waiting": "pending",
    }
    assert table["error"].dropna().to_dict() == {"failed": "why"}
    assert table[METRIC].dropna().to_dict() == {"done": 0.5, "stopped": 0.4}
    assert table["gain/select/macro_accuracy"].dropna().to_dict() == {"done": 0.01}
    assert table["focus.weight"].tolist() == [0.1 + index for index in range(6)]
    assert table.loc["done", ["template_key", "seconds", "skipped_clips"]].tolist() == ["k", 2.5, 1]
    curves = pd.read_parquet(ledger.folder / "epochs.parquet")
    assert curves[["trial", "stage", "epoch"]].values.tolist() == [
        ["stopped", "template", 1],
        ["stopped", "focus", 1],
        ["stopped", "focus", 2],
    ]
    assert (ledger.folder / "predictions" / "done.parquet").read_bytes() == b"logits"
    write_tables(ledger, make_space(), {"running"})  # moves nothing twice


def test_tables_of_a_study_without_trials_have_their_columns(ledger, make_space):
    ledger.folder.mkdir(parents=True)
    write_tables(ledger, make_space(), set())
    table = pd.read_parquet(ledger.folder / "trials.parquet")
    first = ["trial", "phase", "arm", "seed", "winner", "judged_on", "look", "status", "error"]
    assert list(table.columns[:10]) == [*first, "data.subset"]
    assert len(pd.read_parquet(ledger.folder / "epochs.parquet")) == 0


def test_the_search_hands_out_begun_trials_first_and_then_new_ones_round_robin(ledger, make_space):
    space = make_space()
    begun = LedgerSearch(space, ledger).suggest("0")
    search = LedgerSearch(space, ledger)
    assert search.remaining() == 6
    handed_out = [search.suggest(str(i)) for i in range(6)]
    assert handed_out[0] == begun
    assert [one["data.subset"] for one in handed_out] == [25, 100, 25, 100, 25, 100]
    assert len({one["trial"] for one in handed_out}) == 6
    assert search.suggest("7") == "FINISHED"
    for one in handed_out[:4]:
        finish(ledger.trial_folder(one["trial"]))
    again = LedgerSearch(space, ledger)
    assert again.remaining() == 2
    rest = [again.suggest(str(i)) for i in range(2)]
    assert sorted(rest, key=handed_out.index) == handed_out[4:]
    assert again.suggest("3") == "FINISHED"


def test_trials_whose_template_is_ready_come_before_those_that_would_wait(ledger, make_space):
    search = LedgerSearch(make_space(), ledger)
    first = [search.suggest(str(i)) for i in range(2)]
    assert [one["data.subset"] for one in first] == [25, 100]
    epochs = ledger.trial_folder(first[1]["trial"]) / "epochs.jsonl"
    epochs.write_text('{"stage": "template", "epoch": 5, "epochs": 6}\n')
    assert search.suggest("2")["data.subset"] == 25  # both would wait: the usual order
    epochs.write_text('{"stage": "template", "epoch": 6, "epochs": 6}\n')
    # 100 has its template; 25 would wait, until nothing else is left.
    rest = [search.suggest(str(i))["data.subset"] for i in range(3, 6)]
    assert rest == [100, 100, 25]
    assert search.suggest("6") == "FINISHED"


def test_trials_that_share_no_template_keep_the_usual_order(ledger, make_space):
    space = make_space((("space", "template.lr"), {"loguniform": [1e-5, 1e-3]}))
    search = LedgerSearch(space, ledger)
    first = search.suggest("0")
    (ledger.trial_folder(first["trial"]) / "epochs.jsonl").write_text(
        '{"stage": "focus", "epoch": 1, "epochs": 6}\n'
    )
    rest = [search.suggest(str(i))["data.subset"] for i in range(1, 6)]
    assert rest == [100, 25, 100, 25, 100]


def test_a_finished_search_can_be_extended(ledger, make_space):
    first = LedgerSearch(make_space(), ledger)
    begun = {first.suggest(str(i))["trial"] for i in range(6)}
    for name in begun:
        finish(ledger.trial_folder(name))
    longer = LedgerSearch(make_space((("search", "trials"), 4)), ledger)
    assert longer.remaining() == 2
    assert not begun & {longer.suggest(str(i))["trial"] for i in range(2)}


def test_failed_trials_can_be_reset(ledger):
    folder = hand_out(ledger, "a")
    record_start(folder)
    record_end(folder, "failed", "the disk was full")
    finish(hand_out(ledger, "b", 1))
    assert [trial.status for trial in ledger.trials()] == ["failed", "finished"]
    assert ledger.forget_failures() == 1
    assert [trial.status for trial in ledger.trials()] == ["pending", "finished"]


def test_an_error_of_the_trial_is_recorded_and_not_raised(ledger):
    def wrong(settings, out_dir, report):
        raise DataError(["first", "second"])

    folder = hand_out(ledger, "a")
    conduct_trial(folder, {}, print, wrong)
    assert (ledger.trial("a").status, ledger.trial("a").error) == ("failed", "first; second")
    assert "in wrong" in (folder / "error.txt").read_text()


def test_what_ray_raises_to_stop_a_trial_passes_and_leaves_it_unended(ledger):
    def stopped(settings, out_dir, report):
        report({})

    def raise_exit(record):
        raise SystemExit

    folder = hand_out(ledger, "a")
    with pytest.raises(SystemExit):
        conduct_trial(folder, {}, raise_exit, stopped)
    assert ledger.trial("a").status == "running"


def test_what_a_trial_leaves_in_rings_of_references_is_gone_before_the_next(ledger):
    class Network:
        pass

    left = []

    def ring(config, out_dir, report):
        network = Network()
        network.trainer = [network]
        left.append(weakref.ref(network))

    gc.disable()
    try:
        conduct_trial(hand_out(ledger, "a"), {}, lambda record: None, ring)
    finally:
        gc.enable()
    assert left[0]() is None


@pytest.mark.parametrize("status", ["stopped", None])
def test_only_the_schedulers_stop_is_an_answer_to_a_report(ledger, status):
    folder = hand_out(ledger, "a")

    def report(record):
        if status:
            record_end(folder, status)
        raise SystemExit

    with pytest.raises(SystemExit) as stop:
        _checking_delivery(folder, report)({})
    assert isinstance(stop.value, ReportNotDelivered) == (status is None)


def test_a_trial_that_has_results_is_not_run_again(ledger):
    def never(settings, out_dir, report):
        raise AssertionError("ran again")

    folder = hand_out(ledger, "a")
    finish(folder)
    conduct_trial(folder, {}, print, never)
    assert ledger.trial("a").status == "finished"
    assert ledger.trial("a").attempts == 0


def test_a_results_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(ConfigError, match="file/small: cannot be created: Not a directory")
    with refused, Ledger(tmp_path / "file" / "small").locked():
        pass


def test_a_second_driver_is_refused_while_the_first_runs(ledger):
    program = (
        "import sys; from pathlib import Path; from study.ledger.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).locked():\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(ledger.folder)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "locked\n"
        refused = pytest.raises(ConfigError, match=f"process {first.pid} on .* is running this")
        with refused, ledger.locked():
            pass
    finally:
        first.kill()
        first.communicate()
    with ledger.locked():  # the lock falls with its holder
        pass


def test_a_finished_trial_ended_when_its_result_was_written(tmp_path):
    folder = tmp_path / "trials" / "one"
    about = {"trial": "one", "arm": "focusnet", "stratum": 25, "index": 0, "seed": 0}
    write_json(folder / "trial.json", {**about, "parameters": {}})
    write_json(folder / "result.json", {"metrics": {"seconds": 1.0}})
    os.utime(folder / "result.json", (1_700_000_000, 1_700_000_000))
    alone = read_trial(folder)
    record_end(folder, "finished")
    assert alone.ended == read_trial(folder).ended == "2023-11-14T22:13:20+00:00"
