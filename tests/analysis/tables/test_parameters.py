"""Searched parameters: whether a value is at the edge of its range, and how values are shown."""

import math

import pytest

from analysis.tables.parameters import read_parameters, show


@pytest.mark.parametrize(
    ("content", "value", "edge"),
    [
        ({"uniform": [0.0, 1.0]}, 0.05, "lower"),
        ({"uniform": [0.0, 1.0]}, 0.06, None),
        ({"uniform": [0.0, 1.0]}, 0.96, "upper"),
        # On a logarithmic scale 0.12 of 0.1 to 10 is at 4 %, and 8 at 95.2 %; 7.5 is at 93.8 %.
        ({"loguniform": [0.1, 10.0]}, 0.12, "lower"),
        ({"loguniform": [0.1, 10.0]}, 0.5, None),
        ({"loguniform": [0.1, 10.0]}, 7.5, None),
        ({"loguniform": [0.1, 10.0]}, 8.0, "upper"),
        ({"int": [1, 4]}, 4, "upper"),
        ({"int": [1, 4]}, 2, None),
        ({"choice": [0.5, 0.1, 1.0]}, 0.1, "lower"),
        ({"choice": [0.5, 0.1, 1.0]}, 0.5, None),
        ({"choice": [0.1, 1.0]}, 0.1, None),
        ({"choice": [None, 0.1, 1.0]}, 1.0, None),
        ({"choice": ["a", "b", "c"]}, "a", None),
        ({"choice": [1, 2, 3]}, math.nan, None),
    ],
)
def test_a_value_in_the_outer_twentieth_is_at_the_edge(content, value, edge):
    assert read_parameters({"x": content})["x"].edge(value) == edge


def test_a_missing_value_is_shown_as_the_space_file_writes_it():
    assert [show(value) for value in (None, math.nan, 0.123456, 3, "x")] == [
        "null",
        "null",
        "0.123",
        "3",
        "x",
    ]
