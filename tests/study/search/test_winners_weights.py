"""Only each stratum's winner keeps its weights, even if the driver dies at any time."""

import json

import pytest

from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.search.winners_weights import WinnersWeights

METRIC = "focus/select/macro_accuracy"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


@pytest.fixture
def space(make_space):
    return make_space()


def begin(ledger, name, subset=25, index=0, **record):
    """A trial that has written its weights and not its results."""
    ledger.hand_out(Trial(name, "focusnet", subset, index, 0, {"data.subset": subset}, **record))
    folder = ledger.trial_folder(name)
    record_start(folder)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "checkpoint.pt").write_bytes(b"checkpoint")
    return folder


def finish(folder, value, metric=METRIC):
    (folder / "result.json").write_text(json.dumps({"metrics": {metric: value}}))


def kept(ledger, name="weights.safetensors"):
    return {path.parent.name for path in ledger.folder.glob(f"trials/*/{name}")}


def test_a_winner_keeps_its_weights_until_a_better_trial_is_finished(ledger, space):
    weights = WinnersWeights(ledger, space)
    finish(begin(ledger, "first"), 0.5)
    better = begin(ledger, "better", index=1)
    finish(begin(ledger, "other", subset=100), 0.1)
    weights.remove_others()
    assert kept(ledger) == {"first", "better", "other"}
    finish(better, 0.6)
    weights.remove_others()
    assert kept(ledger) == {"better", "other"}
    finish(begin(ledger, "worse", index=2), 0.4)
    weights.remove_others()
    assert kept(ledger) == {"better", "other"}


def test_members_of_an_ensemble_keep_their_weights_beside_the_winners(ledger, space):
    for index, value in enumerate((0.6, 0.4, 0.5)):
        finish(begin(ledger, f"t{index}", index=index), value)

    def members(trials):
        return {"t2"} if len(trials) == 3 else {}

    WinnersWeights(ledger, space, members).remove_others()
    assert kept(ledger) == {"t0", "t2"}
    assert kept(ledger, "checkpoint.pt") == set()


def test_another_driver_continues_from_the_ledger(ledger, space):
    for index, value in enumerate((0.4, 0.6, 0.5)):
        finish(begin(ledger, f"t{index}", index=index), value)
    record_end(begin(ledger, "failed", index=3), "failed", "why")
    record_end(begin(ledger, "stopped", index=4), "stopped")
    begin(ledger, "running", index=5)
    WinnersWeights(Ledger(ledger.folder), space).remove_others()
    assert kept(ledger) == {"t1", "running"}


def test_only_running_trials_keep_checkpoints_and_half_written_files(ledger, space):
    running = begin(ledger, "running", index=1)
    ended = begin(ledger, "ended")
    own = ended / "template" / ".key.x.part"
    own.mkdir(parents=True)
    for folder in (running, ended, own):
        (folder / ".checkpoint.pt.x.part").write_bytes(b"half")
    record_end(ended, "stopped")
    WinnersWeights(ledger, space).remove_others()
    assert kept(ledger, "checkpoint.pt") == {"running"}
    assert kept(ledger, ".checkpoint.pt.x.part") == {"running"}
    assert not own.exists()
