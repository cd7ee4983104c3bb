"""Remote calls are retried with back-off, and an outage is logged once."""

import threading

import pytest

from study.errors import Unreachable
from study.remote.retry import PeriodicTask, Retrier


def test_an_outage_and_its_end_are_logged_once(caplog):
    pauses = []

    def call():
        if len(pauses) < 4:
            raise Unreachable("s3://bucket: OSError: the network is down")
        return "result"

    retrier = Retrier(pauses.append)
    assert not retrier.try_once(call)
    assert retrier.retry(call) == "result"
    assert pauses == [1, 2, 4, 8]
    assert caplog.messages == [
        "no connection to s3://bucket: OSError: the network is down; retrying, nothing is lost",
        "connected again after 0 s; uploading what is left",
    ]


def test_retries_end_at_the_timeout():
    pauses = []

    def never():
        raise Unreachable("x: nothing")

    with pytest.raises(Unreachable, match="x: nothing"):
        Retrier(pauses.append).retry(never, timeout=100)
    assert pauses == [1, 2, 4, 8, 16, 32, 37]  # 100 in all


def test_a_periodic_task_can_be_woken_and_stopped():
    called = threading.Event()
    task = PeriodicTask(called.set, 60.0, Retrier())
    task.start()
    assert called.wait(5)
    called.clear()
    task.wake()
    assert called.wait(5), "sooner than after a minute"
    task.stop()


def test_an_error_in_a_periodic_task_is_raised_when_it_is_stopped():
    def wrong():
        raise ValueError("no space left")

    task = PeriodicTask(wrong, 0.01, Retrier())
    task.start()
    with pytest.raises(ValueError, match="no space left"):
        task.stop()
