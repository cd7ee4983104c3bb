"""One trial on a node that shares nothing but an address: what it finds and what it leaves."""

import json
import threading

import pytest
from flaky_files import FlakyFileSystem, flaky_place

from focusnet.system.atomic import write_json
from study.errors import Superseded, Unreachable
from study.ledger.ledger import Trial, read_trial
from study.remote.ledger import open_ledger
from study.remote.trial import remote_trials

METRIC = "focus/select/macro_accuracy"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("study.remote.retry.time.sleep", lambda seconds: None)
    monkeypatch.setattr("study.remote.trial._EVERY", 0.02)
    monkeypatch.delenv("FOCUSNET_CACHE", raising=False)


@pytest.fixture
def place():
    return flaky_place()


@pytest.fixture
def trial(place):
    """A trial's folder at the address, with nothing but its configuration."""
    about = {"trial": "a", "arm": "focusnet", "stratum": 25, "index": 0, "seed": 0}
    place.write("small/trials/a/trial.json", json.dumps({**about, "parameters": {}}).encode())
    return place.below("small/trials/a")


def conduct(place, cache, run_trial, report=lambda record: None):
    settings = {"data": {"cache": str(cache)}}
    address = place.url
    remote_trials(address, "small", settings, own_caches=False).run(
        "a", settings, report, run_trial
    )


def learn(folder, report, epochs, last=4, until=None):
    """A trial of ``last`` epochs that goes on where its checkpoint stands."""
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


def test_a_trial_leaves_all_of_it_at_the_address_and_nothing_on_the_node(trial, place, tmp_path):
    seen = []

    def report(record):
        seen.append((record["epoch"], sorted(trial.listing()), trial.read("epochs.jsonl")))

    conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    for epoch, _, lines in seen[:-1]:
        assert len(lines.splitlines()) == epoch, "there before Tune hears of it"
    last = seen[-1][1]
    assert {"result.json", "predictions.parquet", "weights.safetensors"} <= set(last)
    assert sorted(trial.listing()) == [
        *("ended.json", "epochs.jsonl", "predictions.parquet", "result.json", "started.json"),
        *("trial.json", "weights.safetensors"),
    ]
    (folder,) = tmp_path.glob("remote/*/.workers/small/a")
    assert list(folder.iterdir()) == []


def test_another_node_goes_on_from_the_last_epoch(trial, place, tmp_path):
    epochs = []

    def until_2(c, folder, tell, **o):
        learn(folder, tell, epochs, until=2)

    with pytest.raises(KeyboardInterrupt):
        conduct(place, tmp_path / "one", until_2)
    assert trial.read("checkpoint.pt") == b"2"
    conduct(place, tmp_path / "two", lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [1, 2, 3, 4]
    assert json.loads(trial.read("started.json"))["attempts"] == 2
    assert len(trial.read("epochs.jsonl").splitlines()) == 4
    assert trial.read("checkpoint.pt") is None


def test_the_node_of_the_attempt_before_has_what_was_not_carried_yet(trial, place, tmp_path):
    epochs = []

    def cut_off(c, folder, tell, **o):
        def tell_in_vain(record):
            FlakyFileSystem.down = record["epoch"] > 1
            tell(record)

        learn(folder, tell_in_vain, epochs, until=3)

    with pytest.raises(KeyboardInterrupt):
        conduct(place, tmp_path, cut_off)
    FlakyFileSystem.down = False
    assert trial.read("checkpoint.pt") != b"3"
    conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [1, 2, 3, 4]


def test_a_trial_goes_on_while_the_network_is_down_and_carries_later(trial, place, tmp_path):
    reported = []

    def report(record):
        reported.append(record["epoch"])
        FlakyFileSystem.down = record["epoch"] in (1, 2)

    conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    assert reported == [1, 2, 3, 4]
    assert len(trial.read("epochs.jsonl").splitlines()) == 4
    assert json.loads(trial.read("result.json"))["metrics"] == {METRIC: 0.4}
    log = trial.read("log.txt").decode().splitlines()
    assert len([line for line in log if "lost flaky://" in line]) == 1
    assert len([line for line in log if "answers again" in line]) == 1


def test_a_network_that_stays_down_is_no_failure_of_the_trial(trial, place, tmp_path):
    def report(record):
        FlakyFileSystem.down = True

    with pytest.raises(Unreachable):
        conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), report)
    FlakyFileSystem.down = False
    assert trial.read("ended.json") is None
    epochs = []
    conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, epochs))
    assert epochs == [], "its results were complete, and still there"
    assert trial.read("result.json") is not None


def test_an_attempt_given_up_for_dead_carries_nothing_any_more(trial, place, tmp_path):
    clock = threading.Event()

    def superseded(c, folder, tell, **o):
        def tell_late(record):
            if record["epoch"] == 2:
                trial.write("started.json", b'{"attempts": 2}')
                clock.wait(0.2)  # what was on its way is there
                trial.write("checkpoint.pt", b"3")
            for _ in range(500):
                tell({"waiting": "template"})
                clock.wait(0.01 if record["epoch"] == 3 else 0)
            tell(record)

        learn(folder, tell_late, [])

    with pytest.raises(Superseded):
        conduct(place, tmp_path, superseded)
    assert trial.read("checkpoint.pt") == b"3"
    assert trial.read("result.json") is None
    assert trial.read("ended.json") is None


def test_an_error_of_the_trial_is_its_end(trial, place, tmp_path):
    def wrong(c, folder, tell, **o):
        raise ValueError("the loss is not finite")

    conduct(place, tmp_path, wrong)
    assert json.loads(trial.read("ended.json"))["error"] == "ValueError: the loss is not finite"
    assert b"in wrong" in trial.read("error.txt")


def test_a_stopped_trial_leaves_no_state_behind(trial, place, tmp_path):
    def stop(record):
        if record["epoch"] == 2:
            trial.write("ended.json", b'{"status": "stopped", "at": "2026-01-01T00:00:00+00:00"}')
            trial.remove(["checkpoint.pt"])
            raise SystemExit

    with pytest.raises(SystemExit):
        conduct(place, tmp_path, lambda c, folder, tell, **o: learn(folder, tell, []), stop)
    assert trial.read("result.json") is None
    assert len(trial.read("epochs.jsonl").splitlines()) == 2


def test_a_node_keeps_to_its_own_cache(trial, place, tmp_path, monkeypatch):
    monkeypatch.setenv("FOCUSNET_CACHE", str(tmp_path / "own"))
    caches = []

    def run(c, folder, tell, **options):
        caches.append(c["data"]["cache"])
        assert set(options) == {"template_exchange"}
        write_json(folder / "result.json", {"metrics": {}})

    settings = {"data": {"cache": str(tmp_path / "drivers")}}
    for own in (True, False):
        trial.remove(["result.json", "ended.json"])
        remote_trials(place.url, "small", settings, own_caches=own).run("a", settings, print, run)
    assert caches == [str(tmp_path / "own"), str(tmp_path / "drivers")]


@pytest.fixture
def ledger(place, tmp_path):
    return open_ledger(place.url, "small", tmp_path / "driver")


def test_a_trial_is_at_the_address_before_it_starts(ledger, place):
    ledger.hand_out(Trial("a", "focusnet", 25, 0, 0, {"focus.weight": 1.0}))
    about = json.loads(place.read("small/trials/a/trial.json"))
    assert about["parameters"] == {"focus.weight": 1.0}


def test_the_driver_sees_what_a_worker_left_and_collects_its_predictions(
    ledger, trial, place, tmp_path
):
    with ledger.locked():
        assert [one.status for one in ledger.trials()] == ["pending"]
        conduct(place, tmp_path / "n", lambda c, folder, tell, **o: learn(folder, tell, []))
        ledger.refresh("a")
        assert ledger.trial("a").status == "finished"
        assert ledger.trial("a").metrics == {METRIC: 0.4}
        assert len(ledger.trial("a").epochs) == 4
        ledger.discard("a", ["weights.safetensors", "checkpoint.pt"])
        (ledger.folder / "trials.parquet").write_bytes(b"table")
        ledger.publish()
    names = place.listing("small")
    assert "small/predictions/a.parquet" in names
    assert "small/trials/a/weights.safetensors" not in names
    assert place.read("small/trials.parquet") == b"table"
    assert not [name for name in names if name.endswith((".lease", ".lock"))]
    assert not list(ledger.folder.rglob("predictions.parquet"))


def test_a_new_machine_has_the_records_and_an_old_one_forgets_its_own(place, tmp_path):
    first = open_ledger(place.url, "small", tmp_path / "first")
    with first.locked("command"):
        first.begin({"name": "small"})
        first.hand_out(Trial("a", "focusnet", 25, 0, 0, {}))
    second = open_ledger(place.url, "small", tmp_path / "second")
    with second.locked("command"):
        assert second.exists()
        assert [one.id for one in second.trials()] == ["a"]
        second.hand_out(Trial("b", "focusnet", 25, 1, 0, {}))
    write_json(first.trial_folder("c") / "trial.json", {"never": "carried"})
    with first.locked("command"):
        assert [one.id for one in first.trials()] == ["a", "b"]


def test_failures_are_forgotten_at_the_address_too(ledger, trial, place, tmp_path):
    def wrong(c, folder, tell, **o):
        raise ValueError("no")

    conduct(place, tmp_path / "n", wrong)
    with ledger.locked():
        assert ledger.forget_failures() == 1
        assert trial.read("ended.json") is None
        assert trial.read("started.json") is None
        assert read_trial(ledger.trial_folder("a")).status == "pending"


def test_what_a_study_writes_while_the_network_is_down_goes_up_later(
    ledger, place, trial, monkeypatch
):
    monkeypatch.setattr("study.remote.ledger._EVERY", 0.01)
    said = []
    ledger = open_ledger(place.url, "small", ledger.folder)
    ledger._persistence._say = said.append
    with ledger.locked():
        FlakyFileSystem.down = True
        (ledger.folder / "trials.parquet").write_bytes(b"table")
        ledger.publish()
        while not said:
            pass
        FlakyFileSystem.down = False
    assert place.read("small/trials.parquet") == b"table"
    assert [text.split()[0] for text in said] == ["lost", "the"]


def test_the_last_state_stays_until_the_results_are_there(trial, place, tmp_path):
    seen = []

    def slow_end(c, folder, tell, **o):
        def tell_late(record):
            threading.Event().wait(0.2)
            if record["epoch"] == 4:  # the results are written, the checkpoint is gone
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

    conduct(place, tmp_path, slow_end)
    assert seen[:2] == [b"{}", None]
    assert seen[2] is not None
    assert seen[3] is None
    assert trial.read("checkpoint.pt") is None
    assert trial.read("result.json") is not None
