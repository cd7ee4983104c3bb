"""One trial on a node that shares nothing but an address: what it downloads and uploads."""

import json
import threading
import time

import pytest
from flaky_files import FlakyFileSystem, flaky_folder

from focusnet.system.atomic import write_json
from study.errors import Superseded, Unreachable
from study.ledger.ledger import Trial, read_trial
from study.remote.ledger import is_record, open_ledger
from study.remote.trial import remote_trials

METRIC = "focus/select/macro_accuracy"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("study.remote.retry.time.sleep", lambda seconds: None)
    monkeypatch.setattr("study.remote.trial._INTERVAL", 0.02)
    monkeypatch.delenv("FOCUSNET_CACHE", raising=False)


@pytest.fixture
def remote():
    return flaky_folder()


@pytest.fixture
def trial(remote):
    """A trial's folder at the address, with nothing but its configuration."""
    about = {"trial": "a", "arm": "focusnet", "stratum": 25, "index": 0, "seed": 0}
    remote.write("small/trials/a/trial.json", json.dumps({**about, "parameters": {}}).encode())
    return remote.subfolder("small/trials/a")


def conduct(remote, cache, run_trial, report=lambda record: None):
    settings = {"data": {"cache": str(cache)}}
    address = remote.url
    remote_trials(address, "small", settings, own_caches=False).run(
        "a", settings, report, run_trial
    )


def learn(folder, report, epochs, last=4, until=None):
    """A trial of ``last`` epochs that resumes from its checkpoint."""
    checkpoint = folder / "checkpoint.pt"
    begin = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    for epoch in range(begin + 1, last + 1):
        epochs.append(epoch)
        record = {"stage": "focus", "epoch": epoch, "epochs": last, METRIC: epoch / 10}
        checkpoint.write_text(str(epoch))
        if epoch < last:
            report(record)
        with (folder / "epochs.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        if epoch == until:
            raise KeyboardInterrupt
    (folder / "predictions.parquet").write_bytes(b"logits")
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_json(folder / "result.json", {"metrics": {METRIC: 0.4}})
    checkpoint.unlink()
    report(record)


def test_a_trial_uploads_all_its_files_and_leaves_none_on_the_node(trial, remote, tmp_path):
    seen = []

    def report(record):
        seen.append((record["epoch"], sorted(trial.list_files()), trial.read("epochs.jsonl")))

    conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    for epoch, _, lines in seen[:-1]:
        assert len(lines.splitlines()) == epoch, "uploaded before Tune is told"
    last = seen[-1][1]
    assert {"result.json", "predictions.parquet", "weights.safetensors"} <= set(last)
    assert sorted(trial.list_files()) == [
        *("ended.json", "epochs.jsonl", "predictions.parquet", "result.json", "started.json"),
        *("trial.json", "weights.safetensors"),
    ]
    (folder,) = tmp_path.glob("remote/*/.workers/small/a")
    assert list(folder.iterdir()) == []


def test_another_node_resumes_from_the_last_epoch(trial, remote, tmp_path):
    epochs = []

    def until_2(c, folder, tell, **o):
        learn(folder, tell, epochs, until=2)

    with pytest.raises(KeyboardInterrupt):
        conduct(remote, tmp_path / "one", until_2)
    assert trial.read("checkpoint.pt") == b"2"
    conduct(remote, tmp_path / "two", lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [1, 2, 3, 4]
    assert json.loads(trial.read("started.json"))["attempts"] == 2
    assert len(trial.read("epochs.jsonl").splitlines()) == 4
    assert trial.read("checkpoint.pt") is None


def test_the_same_node_resumes_from_a_checkpoint_that_was_not_uploaded(trial, remote, tmp_path):
    epochs = []

    def cut_off(c, folder, tell, **o):
        def tell_while_down(record):
            FlakyFileSystem.down = record["epoch"] > 1
            tell(record)

        learn(folder, tell_while_down, epochs, until=3)

    with pytest.raises(KeyboardInterrupt):
        conduct(remote, tmp_path, cut_off)
    FlakyFileSystem.down = False
    assert trial.read("checkpoint.pt") != b"3"
    conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [1, 2, 3, 4]


def test_a_trial_continues_during_an_outage_and_uploads_later(trial, remote, tmp_path):
    reported = []

    def report(record):
        reported.append(record["epoch"])
        FlakyFileSystem.down = record["epoch"] in (1, 2)

    conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    assert reported == [1, 2, 3, 4]
    assert len(trial.read("epochs.jsonl").splitlines()) == 4
    assert json.loads(trial.read("result.json"))["metrics"] == {METRIC: 0.4}
    log = trial.read("trial.log").decode()
    assert log.count("WARNING no connection to flaky://") == log.count("connected again") == 1


def test_an_outage_before_the_trial_is_in_its_log(trial, remote, tmp_path, monkeypatch):
    trial.write("trial.log", b"of the previous attempt\n")
    FlakyFileSystem.down = True

    def sleep(seconds):
        FlakyFileSystem.down = False

    monkeypatch.setattr("study.remote.retry.time.sleep", sleep)
    conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []))
    first, second = trial.read("trial.log").decode().splitlines()
    assert first == "of the previous attempt"
    assert "connected again after 0 s" in second


def test_a_long_outage_does_not_make_the_trial_fail(trial, remote, tmp_path):
    def report(record):
        FlakyFileSystem.down = True

    with pytest.raises(Unreachable):
        conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    FlakyFileSystem.down = False
    assert trial.read("ended.json") is None
    epochs = []
    conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [], "its results were complete on this node"
    assert trial.read("result.json") is not None


def test_a_superseded_attempt_uploads_nothing(trial, remote, tmp_path):
    clock = threading.Event()

    def superseded(c, folder, tell, **o):
        def tell_late(record):
            if record["epoch"] == 2:
                trial.write("started.json", b'{"attempts": 2}')
                clock.wait(0.2)  # uploads under way end
                trial.write("checkpoint.pt", b"3")
            for _ in range(500):
                tell({"waiting": "template"})
                clock.wait(0.01 if record["epoch"] == 3 else 0)
            tell(record)

        learn(folder, tell_late, [])

    with pytest.raises(Superseded):
        conduct(remote, tmp_path, superseded)
    assert trial.read("checkpoint.pt") == b"3"
    assert trial.read("result.json") is None
    assert trial.read("ended.json") is None


def test_an_error_in_the_trial_ends_it(trial, remote, tmp_path):
    def wrong(c, folder, tell, **o):
        raise ValueError("the loss is not finite")

    conduct(remote, tmp_path, wrong)
    assert json.loads(trial.read("ended.json"))["error"] == "ValueError: the loss is not finite"
    assert b"in wrong" in trial.read("error.txt")


def test_a_trial_stopped_by_the_driver_uploads_no_checkpoint(trial, remote, tmp_path):
    def stop(record):
        if record["epoch"] == 2:
            trial.write("ended.json", b'{"status": "stopped", "at": "2026-01-01T00:00:00+00:00"}')
            trial.remove(["checkpoint.pt"])
            raise SystemExit

    with pytest.raises(SystemExit):
        conduct(remote, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), stop)
    assert trial.read("result.json") is None
    assert len(trial.read("epochs.jsonl").splitlines()) == 2


def test_a_node_prefers_its_own_cache(trial, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "own"))
    caches = []

    def run(c, folder, tell, **options):
        caches.append(c["data"]["cache"])
        assert set(options) == {"exchanges"}
        write_json(folder / "result.json", {"metrics": {}})

    settings = {"data": {"cache": str(tmp_path / "drivers")}}
    for own in (True, False):
        trial.remove(["result.json", "ended.json"])
        remote_trials(remote.url, "small", settings, own_caches=own).run("a", settings, print, run)
    assert caches == [str(tmp_path / "own"), str(tmp_path / "drivers")]


def test_records_are_synced_under_their_old_names_too():
    names = ("study.log", "trials.parquet", ".driver", "trials/a/trial.log", "trials/a/log.txt")
    assert all(is_record(name) for name in names)
    others = (".lease", "study.lock", "trials/a/checkpoint.pt", "predictions/a.parquet")
    assert not any(is_record(name) for name in others)


@pytest.fixture
def ledger(remote, tmp_path):
    return open_ledger(remote.url, "small", tmp_path / "driver")


def test_a_trial_is_uploaded_before_it_starts(ledger, remote):
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {"focus.weight": 1.0}))
    about = json.loads(remote.read("small/trials/a/trial.json"))
    assert about["parameters"] == {"focus.weight": 1.0}


def test_the_driver_downloads_records_and_collects_predictions(ledger, trial, remote, tmp_path):
    with ledger.locked():
        assert [one.status for one in ledger.trials()] == ["pending"]
        conduct(remote, tmp_path / "n", lambda c, folder, tell, **o: learn(folder, tell, []))
        ledger.refresh("a")
        assert ledger.trial("a").status == "finished"
        assert ledger.trial("a").metrics == {METRIC: 0.4}
        assert len(ledger.trial("a").epochs) == 4
        ledger.discard("a", ["weights.safetensors", "checkpoint.pt"])
        (ledger.folder / "trials.parquet").write_bytes(b"table")
        ledger.publish()
    names = remote.list_files("small")
    assert "small/predictions/a.parquet" in names
    assert "small/trials/a/weights.safetensors" not in names
    assert remote.read("small/trials.parquet") == b"table"
    assert not [name for name in names if name.endswith((".lease", ".lock"))]
    assert not list(ledger.folder.rglob("predictions.parquet"))


def test_a_driver_starts_from_the_records_at_the_address(remote, tmp_path):
    first = open_ledger(remote.url, "small", tmp_path / "first")
    with first.locked("command"):
        first.begin({"name": "small"})
        first.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    second = open_ledger(remote.url, "small", tmp_path / "second")
    with second.locked("command"):
        assert second.exists()
        assert [one.id for one in second.trials()] == ["a"]
        second.hand_out(Trial("b", "focusnet", 25, 1, 0, {}))
    write_json(first.trial_folder("c") / "trial.json", {"never": "uploaded"})
    with first.locked("command"):
        assert [one.id for one in first.trials()] == ["a", "b"]


def test_forgotten_failures_are_removed_remotely(ledger, trial, remote, tmp_path):
    def wrong(c, folder, tell, **o):
        raise ValueError("no")

    conduct(remote, tmp_path / "n", wrong)
    with ledger.locked():
        assert ledger.forget_failures() == 1
        assert trial.read("ended.json") is None
        assert trial.read("started.json") is None
        assert read_trial(ledger.trial_folder("a")).status == "pending"


def test_tables_written_during_an_outage_are_uploaded_later(
    ledger, remote, trial, monkeypatch, caplog
):
    monkeypatch.setattr("study.remote.ledger._INTERVAL", 0.01)
    with ledger.locked():
        FlakyFileSystem.down = True
        (ledger.folder / "trials.parquet").write_bytes(b"table")
        ledger.publish()
        while not caplog.messages:
            time.sleep(0.01)
        FlakyFileSystem.down = False
    assert remote.read("small/trials.parquet") == b"table"
    assert [message.split()[0] for message in caplog.messages] == ["no", "connected"]


def test_the_remote_checkpoint_stays_until_the_results_are_uploaded(trial, remote, tmp_path):
    seen = []

    def slow_end(c, folder, tell, **o):
        def tell_late(record):
            threading.Event().wait(0.2)
            if record["epoch"] == 4:  # the results are written, the local checkpoint is deleted
                seen.append(trial.read("checkpoint.pt"))
                seen.append(trial.read("result.json"))
            tell(record)

        (folder / "waiting.json").write_text("{}")
        tell({"waiting": "template"})
        threading.Event().wait(0.2)
        seen.append(trial.read("waiting.json"))
        (folder / "waiting.json").unlink()
        threading.Event().wait(0.2)
        seen.append(trial.read("waiting.json"))
        learn(folder, tell_late, [])

    conduct(remote, tmp_path, slow_end)
    assert seen[:2] == [b"{}", None]
    assert seen[2] is not None
    assert seen[3] is None
    assert trial.read("checkpoint.pt") is None
    assert trial.read("result.json") is not None
