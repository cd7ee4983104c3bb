"""Represents a report as sentences, lists, tables and figures; renders it as Markdown and text.

The content holds no markup. ``html.py`` renders the same content as a page.
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
    """Short statements, one per line."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells as text. Columns named in ``words`` are aligned left, the others right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes:
        file: name of the PNG file beside the Markdown report.
        caption: what the picture shows.
        alt: what kind of picture it is, for readers who cannot see it.
        png: the picture as PNG bytes.
    """

    file: str
    caption: str
    alt: str
    png: bytes


Block = str | Bullets | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: Sequence[Block]


def to_markdown(title: str, sections: Iterable[Section]) -> str:
    """Render the report as Markdown that links to figures in the same folder."""
    parts = [f"# {_escape(title)}"]
    for section in sections:
        parts.append(f"## {_escape(section.title)}")
        parts += [block_to_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def block_to_markdown(block: Block) -> str:
    """Render one block as Markdown."""
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


def to_short_text(title: str, section: Section, lines: int) -> str:
    """Render the sentences that a section begins with, as many as fit into ``lines`` lines."""
    parts = [title]
    left = lines - 1
    for block in section.blocks:
        if not isinstance(block, str | Bullets):
            break
        text = _text(block, "")
        left -= 1 + len(text.splitlines())  # and an empty one
        if left < 0:
            break
        parts.append(text)
    if len(parts) > 1 and parts[-1].endswith(":"):
        parts.pop()  # what it announces did not fit
    return "\n\n".join(parts)


def to_text(title: str, sections: Iterable[Section], folder: str) -> str:
    """Render the report for a console; figures are named by their path in ``folder``."""
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
    """Return header and rows with the cells of each column padded to the same width."""
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
    """Escape text, such as an error message, so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", _one_line(text))


def percent(fraction: float) -> str:
    """Format a fraction in percent without the unit, such as ``45.2``."""
    return MISSING if math.isnan(fraction) else f"{100 * fraction:.1f}"


def points(fraction: float) -> str:
    """Format a difference of fractions in percentage points with its sign, such as ``+1.3``."""
    if math.isnan(fraction):
        return MISSING
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0 else text


def number(value: float, digits: int) -> str:
    """Format a number with ``digits`` decimals."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def interval(low: float, high: float, show: Callable[[float], str] = points) -> str:
    """Format an interval of fractions, such as ``-0.4 to +1.3``; MISSING if its ends are NaN."""
    return MISSING if math.isnan(low) else f"{show(low)} to {show(high)}"


def counted(number_of: int, thing: str) -> str:
    """Format a count with its noun, such as ``1 run`` and ``2 runs``."""
    return f"{number_of} {thing}" + ("" if number_of == 1 else "s")
