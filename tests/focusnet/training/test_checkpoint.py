"""A stage's checkpoint: what is read back, and which files are not used."""

import random
import threading
from pathlib import Path

import pytest
import torch

from focusnet.training.checkpoint import Checkpoint, StageState
from focusnet.training.epoch_record import EpochRecord

DETERMINANTS = {"template": "0123456789abcdef", "focus": {"weight": 1.0, "threshold": None}}


def state(epoch: int = 3) -> StageState:
    parameter = torch.nn.Parameter(torch.arange(6.0))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3)
    parameter.sum().backward()
    optimizer.step()
    return StageState(
        epoch=epoch,
        model={"head.weight": parameter.detach() * epoch},
        optimizer=optimizer.state_dict(),
        generators={"order": torch.Generator().manual_seed(7).get_state()},
        best_score=0.25,
        best={"head.weight": torch.full((6,), 1 / 3)},
        records=[EpochRecord("focus", 1, 4, {"focus/train/loss": 0.1 + 0.2}, seconds=12.0)],
        seconds=12.5,
    )


def write_half(content, path):
    """``torch.save`` on a disk that fills up."""
    path.write_bytes(b"half")
    raise OSError(28, "No space left on device")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path, DETERMINANTS)


def test_the_newest_state_comes_back_to_the_bit(checkpoint, caplog):
    assert checkpoint.load() is None, "nothing was saved"
    checkpoint.save(state(3))
    checkpoint.save(state(4))
    found, wanted = checkpoint.load(), state(4)
    assert found.epoch == 4
    assert found.model["head.weight"].equal(wanted.model["head.weight"])
    assert found.best["head.weight"].equal(wanted.best["head.weight"])
    assert found.generators["order"].equal(wanted.generators["order"])
    assert found.optimizer["param_groups"] == wanted.optimizer["param_groups"]
    for name, value in wanted.optimizer["state"][0].items():
        assert found.optimizer["state"][0][name].equal(value)
    assert (found.records, found.best_score, found.seconds) == (wanted.records, 0.25, 12.5)
    assert not caplog.records
    checkpoint.remove()
    assert checkpoint.load() is None


def test_any_damage_is_noticed_and_logged(checkpoint, caplog):
    checkpoint.save(state())
    whole = checkpoint.path.read_bytes()
    places = random.Random(0)
    damaged = [whole[: len(whole) // 2], whole[:-1], b"", b"not a checkpoint"]
    # Within the tensors' own bytes, where nothing but a checksum can tell.
    for value in (state().model["head.weight"], state().generators["order"]):
        at = whole.index(value.numpy().tobytes()) + places.randrange(16)
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for content in damaged:
        checkpoint.path.write_bytes(content)
        assert checkpoint.load() is None
        assert caplog.messages[-1].startswith("checkpoint.pt is damaged and not used: ")
    checkpoint.path.write_bytes(whole)
    assert checkpoint.load() is not None


def test_code_hidden_in_a_file_is_not_run(checkpoint, caplog, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "trapped",)

    torch.save({"stage": Trap()}, checkpoint.path)
    assert checkpoint.load() is None
    assert "damaged" in caplog.text
    assert not (tmp_path / "trapped").exists()


def test_a_file_of_another_stage_is_not_used(checkpoint, caplog, tmp_path):
    checkpoint.save(state())
    other = DETERMINANTS | {"focus": {"weight": 2.0, "threshold": None}}
    assert Checkpoint(tmp_path, other).load() is None
    assert caplog.messages == ["checkpoint.pt is of other settings and not used"]
    again = dict(reversed(DETERMINANTS.items()))
    assert Checkpoint(tmp_path, again).load().epoch == 3


def test_states_are_saved_as_often_as_asked(tmp_path):
    every_second = Checkpoint(tmp_path / "second", DETERMINANTS, every=2)
    never = Checkpoint(tmp_path / "never", DETERMINANTS, every=0)
    for epoch in (1, 2, 3):
        every_second.save(state(epoch))
        never.save(state(epoch))
    assert every_second.load().epoch == 2
    assert never.load() is None


def test_states_are_saved_at_most_as_often_as_the_clock_allows(tmp_path):
    now = 0.0
    seldom = Checkpoint(tmp_path, DETERMINANTS, seconds=60, clock=lambda: now)
    saved = []
    for epoch, now in enumerate((20.0, 59.0, 61.0, 119.0, 122.0), start=1):  # noqa: B007
        seldom.save(state(epoch))
        found = seldom.load()
        saved.append(found.epoch if found else None)
    assert saved == [None, None, 3, 3, 5]


def test_a_state_that_is_written_in_the_background_is_that_of_its_epoch(tmp_path, monkeypatch):
    began, go_on = threading.Event(), threading.Event()
    save = torch.save

    def slow(content, path):
        began.set()
        assert go_on.wait(60)
        save(content, path)

    monkeypatch.setattr(torch, "save", slow)
    checkpoint = Checkpoint(tmp_path, DETERMINANTS, in_background=True)
    given = state(1)
    checkpoint.save(given)
    assert began.wait(60)
    assert checkpoint.load() is None, "no part of it is taken for the whole"
    given.model["head.weight"].zero_()  # training goes on
    given.optimizer["state"][0]["exp_avg"].zero_()
    checkpoint.save(state(2))  # left out: the first is still being written
    go_on.set()
    checkpoint.wait()
    found, wanted = checkpoint.load(), state(1)
    assert found.epoch == 1
    assert found.model["head.weight"].equal(wanted.model["head.weight"])
    assert found.optimizer["state"][0]["exp_avg"].equal(wanted.optimizer["state"][0]["exp_avg"])
    checkpoint.save(state(3))
    checkpoint.remove()
    assert not checkpoint.path.exists(), "nothing is written after the stage has ended"


def test_a_full_disk_in_the_background_keeps_the_last_state(tmp_path, caplog, monkeypatch):
    checkpoint = Checkpoint(tmp_path, DETERMINANTS, in_background=True)
    checkpoint.save(state(1))
    checkpoint.wait()

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_half)
        checkpoint.save(state(2))
        checkpoint.wait()
    assert "checkpoint.pt of epoch 2 cannot be written" in caplog.text
    assert checkpoint.load().epoch == 1


def test_a_full_disk_keeps_the_last_state_and_is_logged(checkpoint, caplog, monkeypatch):
    checkpoint.save(state(1))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_half)
        checkpoint.save(state(2))
    folder = checkpoint.path.parent
    (line,) = caplog.messages
    assert line.startswith(f"checkpoint.pt of epoch 2 cannot be written: {folder}: the disk")
    assert checkpoint.load().epoch == 1
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]


def test_part_files_of_a_killed_writer_are_removed(checkpoint, tmp_path):
    checkpoint.save(state())
    (tmp_path / ".checkpoint.pt.abc123.part").write_bytes(b"half")
    assert checkpoint.load() is not None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
