"""Only each stratum's winner keeps its weights, even if the driver dies at any time."""

import json
from dataclasses import replace

import pytest

from study.ledger.ledger import Ledger, Trial, record_end, record_start
from study.search.follow_up import follow_ups
from study.search.winners import winners
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


def hand_out(ledger, trial):
    """As ``begin``."""
    ledger.hand_out(trial)
    folder = ledger.trial_folder(trial.id)
    record_start(folder)
    (folder / "weights.safetensors").write_bytes(b"weights")
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


def test_a_winner_that_the_search_has_not_trained_keeps_its_first_confirmation(ledger, make_space):
    """Of a winner by its estimate; the best trial, which may be exported too, keeps its own."""
    space = make_space(
        (("search", "winner"), "posterior_mean"),
        (("search", "trials"), 5),
        (("confirm", "seeds"), 3),
        (("controls", "arms"), ["placebo"]),
        (("space",), {"focus.weight": {"uniform": [0.0, 1.0]}}),
        (("search", "stratify"), None),
    )
    for index, value in enumerate((0.3, 0.5, 0.58, 0.581, 0.5)):
        parameters = {"focus.weight": index / 4.5}
        trial = Trial(f"t{index}", "focusnet", None, index, 0, parameters)
        finish(hand_out(ledger, trial), value)
    weights = WinnersWeights(ledger, space)
    weights.remove_others()
    assert kept(ledger) == {"t3"}
    won = winners(space, ledger.trials())[None]
    assert won.trial is None
    arms = [(one.id, one.arm) for one in follow_ups(space, won) if one.phase == "confirm"]
    again = [name for name, arm in arms if arm == "focusnet"]
    due = {one.id: one for one in follow_ups(space, won)}
    folders = {name: hand_out(ledger, due[name]) for name, _ in arms}
    record_end(folders[again[0]], "failed", "why")
    for number in (2, 1):  # the second of those that finish is the first by its seed
        finish(folders[again[number]], 0.5)
        weights.remove_others()
        under_way = {name for name, _ in arms if name != again[0]} - set(again[number:])
        assert kept(ledger) == {"t3", again[number]} | under_way
    for name, arm in arms:
        if arm != "focusnet":
            finish(folders[name], 0.5)
    weights.remove_others()
    assert kept(ledger) == {"t3", again[1]}
    more = replace(space, search=space.search.model_copy(update={"trials": 6}))
    WinnersWeights(ledger, more).remove_others()
    assert kept(ledger) == {"t3", again[1]}, "the search goes on, and it may win again"
