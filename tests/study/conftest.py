"""Small spaces to try the study on."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from small_space import CONTENT, put

from study.space import Space
from study.validation import validate_space


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
