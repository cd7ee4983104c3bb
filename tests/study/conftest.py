"""Small spaces to try the study on."""

import copy
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from small_space import CONTENT, put

from study.space.space import Space
from study.space.validation import validate_space


@pytest.fixture
def content() -> dict[str, Any]:
    """The content of a valid space file."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def make_space() -> Callable[..., Space]:
    """Build a space that differs from the small one in ``(keys, value)`` pairs."""

    def make(*changes: tuple[tuple[str, ...], Any]) -> Space:
        content = copy.deepcopy(CONTENT)
        for keys, value in changes:
            put(content, keys, value)
        return validate_space(content, "small.yaml")

    return make


@pytest.fixture
def handlers() -> Iterator[None]:
    """The command takes over Ctrl-C; the test process wants it back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
