"""Tests of the report as Markdown and plain text."""

import math

import pytest

from analysis.render.document import (
    Bullets,
    Figure,
    Section,
    Table,
    number,
    percent,
    points,
    to_markdown,
    to_text,
)

SECTIONS = [
    Section(
        "Part",
        [
            "Words " * 40,
            Bullets(["one", "two"]),
            Table(("name", "n"), [("a", "1"), ("b|c", "10")], frozenset({"name"})),
            Figure("x.png", "What is seen", "A plot", b""),
        ],
    )
]


def test_markdown_tables_are_aligned_and_their_bars_escaped():
    text = to_markdown("Title", SECTIONS)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table == [
        "| name |   n |",
        "| ---- | --: |",
        "| a    |   1 |",
        "| b\\|c |  10 |",
    ]
    assert "![A plot](x.png)\n\n*What is seen*" in text
    assert text.startswith("# Title\n\n## Part\n")


def test_text_has_no_markup_and_fits_the_console():
    text = to_text("Title", SECTIONS, "results/x/report")
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "b|c    10" in text
    assert "[results/x/report/x.png]\nWhat is seen" in text
    assert "## " not in text


def test_markup_in_an_error_message_is_escaped():
    error = "TypeError: <class 'int'> * [1]\n  second line"
    text = to_markdown("T", [Section("S", [Bullets([error])])])
    assert "- TypeError: \\<class 'int'\\> \\* \\[1\\] second line\n" in text


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.4567), "45.7"),
        (percent(math.nan), "-"),
        (points(0.013), "+1.3"),
        (points(-0.013), "-1.3"),
        (points(-0.0001), "0.0"),
        (points(math.nan), "-"),
        (number(1.256, 2), "1.26"),
        (number(math.nan, 2), "-"),
    ],
)
def test_numbers_are_formatted(shown, expected):
    assert shown == expected
