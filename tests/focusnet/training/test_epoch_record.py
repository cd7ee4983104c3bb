"""The record of an epoch: as it is stored, and as it is logged."""

import pytest

from focusnet.training.epoch_record import EpochRecord

METRICS = {"focus/train/loss": 1.25, "focus/train/warm_classes": 3.0}
RECORD = EpochRecord("focus", 2, 9, METRICS, seconds=3.0)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_record_is_stored_as_one_mapping(retries):
    record = EpochRecord("focus", 2, 9, METRICS, seconds=3.0, non_finite_retries=retries)
    expected = {"stage": "focus", "epoch": 2, "epochs": 9, **METRICS, "seconds": 3.0}
    if retries:
        expected["non_finite_retries"] = retries
    assert list(record.flat().items()) == list(expected.items())
    assert EpochRecord.from_flat(expected) == record
    assert not record.is_last


def test_an_epoch_is_logged_with_its_accuracy_if_it_was_evaluated():
    assert str(RECORD) == "epoch 2/9: loss 1.250, warm classes 3.000, 3 s"
    evaluated = EpochRecord("focus", 9, 9, METRICS | {"focus/select/macro_accuracy": 0.5}, 4.0)
    assert str(evaluated).endswith("warm classes 3.000, select macro accuracy 50.0 %, 4 s")
    assert evaluated.is_last
