"""A full disk, or a shared one that shows files late, fails no trial."""

import errno
import json
import os
import threading

import pytest
from tensorboardX import event_file_writer

import study.tune.callback
from focusnet.system.atomic import write_json
from study.console.failure import WRONG_INPUT
from study.ledger.ledger import Ledger, Trial, read_trial, record_end, record_start
from study.outputs.tensorboard import Curves
from study.run import main
from study.tune.callback import StudyCallback
from study.worker.trainable import conduct_trial

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "small")
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    return ledger


def no_room(*given, **named):
    raise FULL


@pytest.mark.parametrize("when", ["start", "amid", "end"])
def test_a_trial_that_cannot_write_reports_it_and_can_be_resumed(ledger, monkeypatch, when):
    told = []
    if when != "amid":
        monkeypatch.setattr(f"study.worker.trainable.record_{when}", no_room)
    folder = ledger.trial_folder("a")
    conduct_trial(folder, {}, told.append, no_room if when == "amid" else lambda *given: None)
    assert told == [{"disk_full": told[0]["disk_full"]}]
    assert told[0]["disk_full"].startswith(f"{folder}: the disk (or the quota) is full")
    assert ledger.trial("a").status in ("pending", "running")
    assert not (folder / "error.txt").exists()


class TuneTrial:
    """The part of Tune's trial that the callback uses."""

    config = {"trial": "a"}  # noqa: RUF012


@pytest.fixture
def callback(ledger, make_space):
    class Silent:
        def __getattr__(self, name):
            return lambda *given: None

    record_start(ledger.trial_folder("a"))
    return StudyCallback(
        ledger,
        Silent(),
        Silent(),
        space=make_space(),
        metrics=Silent(),
        tracking=Silent(),
        on_step=lambda: None,
        stopped=(),
        interrupted=lambda: False,
    )


def test_the_study_ends_if_the_driver_cannot_write_a_table(callback, monkeypatch):
    monkeypatch.setattr(study.tune.callback, "write_tables", no_room)
    callback.on_trial_start(0, [], TuneTrial)
    assert str(callback.disk_full).startswith(f"{callback._ledger.folder}: the disk")


def test_a_full_disk_that_a_trial_reports_fails_no_trial(callback, ledger):
    callback.on_trial_result(0, [], TuneTrial, {"disk_full": "/there: the disk is full"})
    callback.on_trial_complete(0, [], TuneTrial)
    assert str(callback.disk_full) == "/there: the disk is full"
    assert ledger.trial("a").status == "running"


def test_other_errors_of_the_driver_are_not_hidden(callback, monkeypatch):
    monkeypatch.setattr(study.tune.callback, "write_tables", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        callback.on_trial_start(0, [], TuneTrial)


def test_curves_that_cannot_be_written_block_nobody(tmp_path):
    Curves()
    writer = event_file_writer.EventFileWriter(str(tmp_path), flush_secs=0)
    with open("/dev/full", "wb") as full:
        writer._ev_writer._py_recordio_writer._writer = full
        event = event_file_writer.event_pb2.Event(file_version="x" * 10_000)
        # More than its queue holds: without the thread that empties it, this would block for ever.
        filling = threading.Thread(
            target=lambda: [writer.add_event(event) for _ in range(40)], daemon=True
        )
        filling.start()
        filling.join(60)
        assert not filling.is_alive()
        writer.close()


def test_a_disk_that_is_full_at_the_start_is_one_message(tmp_path, monkeypatch, capsys, handlers):
    monkeypatch.setattr("study.ledger.ledger.record_driver", no_room)
    assert main(["--results", str(tmp_path)], prepare=lambda space: []) == WRONG_INPUT
    told = capsys.readouterr().err
    assert told.startswith(f"{tmp_path}/demo: the disk (or the quota) is full. Make room there")
    assert told.endswith("No trial was started yet.\n")


def test_the_end_of_a_trial_on_another_machine_may_show_up_late(callback, ledger, monkeypatch):
    folder = ledger.trial_folder("a")
    started = json.loads((folder / "started.json").read_text())
    write_json(folder / "started.json", started | {"host": "another.example"})
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            record_end(folder, "finished")

    monkeypatch.setattr(study.tune.callback.time, "sleep", wait)
    callback.on_trial_complete(0, [], TuneTrial)
    assert ledger.trial("a").status == "finished"
    (folder / "ended.json").unlink()
    callback._ledger = Ledger(ledger.folder)
    callback.on_trial_complete(0, [], TuneTrial)
    assert "without a result" in read_trial(folder).error
    assert len(waited) > 60


def test_nobody_waits_for_the_end_of_a_trial_on_this_machine(callback, ledger, monkeypatch):
    monkeypatch.setattr(study.tune.callback.time, "sleep", lambda seconds: 1 / 0)
    callback.on_trial_complete(0, [], TuneTrial)
    assert "without a result" in ledger.trial("a").error
