"""Only each stratum's winner keeps its weights, even if the driver dies at any time."""

import json

import pytest

from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.search.winners import WinnersWeights, winners

METRIC = "focus/select/macro_accuracy"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "small")


def begin(ledger, name, subset=25, index=0):
    """A trial that has written its weights and not its results."""
    ledger.hand_out(Trial(name, "focusnet", subset, index, 0, {}))
    folder = ledger.trial_folder(name)
    record_start(folder)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "checkpoint.pt").write_bytes(b"checkpoint")
    return folder


def finish(folder, value, metric=METRIC):
    (folder / "result.json").write_text(json.dumps({"metrics": {metric: value}}))


def kept(ledger, name="weights.safetensors"):
    return {path.parent.name for path in ledger.folder.glob(f"trials/*/{name}")}


def test_the_best_of_each_stratum_wins_by_the_metric_of_the_search(ledger):
    finish(begin(ledger, "a"), 0.5)
    finish(begin(ledger, "b", index=1), 0.6)
    finish(begin(ledger, "equal", index=2), 0.6)
    finish(begin(ledger, "c", subset=100), 0.1)
    finish(begin(ledger, "without", subset=100, index=1), 0.9, metric="another")
    control = Trial("control", "cross_entropy", 100, 2, 0, {})
    ledger.hand_out(control)
    finish(ledger.trial_folder("control"), 0.9)
    best = winners(ledger.trials(), METRIC)
    assert {stratum: trial.id for stratum, trial in best.items()} == {25: "b", 100: "c"}


def test_a_winner_keeps_its_weights_until_a_better_trial_is_finished(ledger):
    weights = WinnersWeights(ledger, METRIC)
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


def test_members_of_an_ensemble_keep_their_weights_beside_the_winners(ledger):
    for index, value in enumerate((0.6, 0.4, 0.5)):
        finish(begin(ledger, f"t{index}", index=index), value)

    def members(trials):
        return {"t2"} if len(trials) == 3 else {}

    WinnersWeights(ledger, METRIC, members).remove_others()
    assert kept(ledger) == {"t0", "t2"}
    assert kept(ledger, "checkpoint.pt") == set()


def test_another_driver_continues_from_the_ledger(ledger):
    for index, value in enumerate((0.4, 0.6, 0.5)):
        finish(begin(ledger, f"t{index}", index=index), value)
    record_end(begin(ledger, "failed", index=3), "failed", "why")
    record_end(begin(ledger, "stopped", index=4), "stopped")
    begin(ledger, "running", index=5)
    WinnersWeights(Ledger(ledger.folder), METRIC).remove_others()
    assert kept(ledger) == {"t1", "running"}


def test_only_running_trials_keep_checkpoints_and_half_written_files(ledger):
    running = begin(ledger, "running", index=1)
    ended = begin(ledger, "ended")
    own = ended / "template" / ".key.x.part"
    own.mkdir(parents=True)
    for folder in (running, ended, own):
        (folder / ".checkpoint.pt.x.part").write_bytes(b"half")
    record_end(ended, "stopped")
    WinnersWeights(ledger, METRIC).remove_others()
    assert kept(ledger, "checkpoint.pt") == {"running"}
    assert kept(ledger, ".checkpoint.pt.x.part") == {"running"}
    assert not own.exists()
