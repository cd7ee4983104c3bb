"""A report as plain content (sentences, lists, tables, figures), rendered for files and consoles.

The content holds no markup, so that another form of the report is another renderer.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

CONSOLE_WIDTH = 100
MISSING = "-"


@dataclass(frozen=True)
class Bullets:
    """Short statements, one a line."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells as text; the columns named in ``words`` are aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A picture, with a caption that says what to see in it.

    Attributes:
        file: its name where it stands beside the report.
        alt: what kind of picture it is, for those who cannot see it.
        png: the picture itself.
    """

    file: str
    caption: str
    alt: str
    png: bytes


Block = str | Bullets | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: Sequence[Block]


def to_markdown(title: str, sections: Iterable[Section]) -> str:
    """The report as a Markdown file that stands in the figures' folder."""
    parts = [f"# {_escape(title)}"]
    for section in sections:
        parts.append(f"## {_escape(section.title)}")
        parts += [block_to_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def block_to_markdown(block: Block) -> str:
    if isinstance(block, str):
        return _escape(block)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_escape(item)}" for item in block.items)
    if isinstance(block, Figure):
        return f"![{_escape(block.alt)}]({block.file})\n\n*{_escape(block.caption)}*"
    header, *rows = _aligned(block, _escape)
    widths = [len(cell) for cell in header]
    rule = [
        "-" * width if name in block.words else "-" * (width - 1) + ":"
        for name, width in zip(block.header, widths, strict=True)
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def to_text(title: str, sections: Iterable[Section], folder: str) -> str:
    """The report for a console; figures are named with the ``folder`` that they are in."""
    parts = [f"{title}\n{'=' * len(title)}"]
    for section in sections:
        parts.append(f"{section.title}\n{'-' * len(section.title)}")
        parts += [_text(block, folder) for block in section.blocks]
    return "\n\n".join(parts)


def _text(block: Block, folder: str) -> str:
    if isinstance(block, str):
        return _wrap(block)
    if isinstance(block, Bullets):
        return "\n".join(_wrap(item, "- ", "  ") for item in block.items)
    if isinstance(block, Figure):
        return f"[{folder}/{block.file}]\n" + _wrap(block.caption)
    header, *rows = _aligned(block, str)
    rule = ["-" * len(cell) for cell in header]
    return "\n".join("  ".join(row).rstrip() for row in (header, rule, *rows))


def _aligned(table: Table, render: Callable[[str], str]) -> list[list[str]]:
    """Header and rows with all cells of a column made equally wide."""
    rows = [[render(_one_line(cell)) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.ljust(width) if name in table.words else cell.rjust(width)
            for name, cell, width in zip(table.header, row, widths, strict=True)
        ]
        for row in rows
    ]


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        _one_line(text),
        CONSOLE_WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    """Text, such as an error message, that Markdown shows as it is."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", _one_line(text))


def percent(fraction: float) -> str:
    """Such as ``45.2``; the unit stands in the heading or after it."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}"


def points(fraction: float) -> str:
    """A difference of percentages with its sign, such as ``+1.3``."""
    if math.isnan(fraction):
        return MISSING
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0 else text


def number(value: float, digits: int) -> str:
    """A plain number, or the sign for a missing one."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def counted(number_of: int, thing: str) -> str:
    """Such as ``1 run`` and ``2 runs``."""
    return f"{number_of} {thing}" + ("" if number_of == 1 else "s")
