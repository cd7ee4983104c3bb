"""Formats measured parts as a table, for the terminal and as Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.measure import Spread

_COLUMNS = ("what", "ours", "baseline", "ratio", "required (aim)", "how measured")
Part = Mapping[str, Any]


def as_text(parts: Mapping[str, Part]) -> str:
    """Aligned columns; the last one is below each line."""
    cells = [_cells(row) for part in parts.values() for row in part["rows"]]
    widths = [max(len(line[i]) for line in [_COLUMNS, *cells]) for i in range(5)]
    lines = ["  ".join(name.ljust(w) for name, w in zip(_COLUMNS[:5], widths, strict=True))]
    for *shown, how in cells:
        lines.append("  ".join(text.ljust(w) for text, w in zip(shown, widths, strict=True)))
        lines.append(f"    {how}")
    return "\n".join(lines)


def as_markdown(parts: Mapping[str, Part]) -> str:
    """Content of benchmarks/RESULTS.md."""
    lines = [
        "# Measured speed",
        "",
        "Written by `python benchmarks/run.py`; do not edit. Figures are medians, with the range "
        "over the rounds in brackets. The ratio says how many times better ours is; it is computed "
        "in each round. The command fails if a ratio is below the required one.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "| " + " | ".join("---" for _ in _COLUMNS) + " |",
    ]
    for part in parts.values():
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in part["rows"]]
    lines += ["", "## Environment", ""]
    for name, part in parts.items():
        versions = ", ".join(f"{package} {v}" for package, v in part["versions"].items())
        lines.append(
            f"- `{name}`: {part['date']}, {part['cpu']}, {part['cores']} cores (load "
            f"{part['load']} at the end), Python {part['python']}, {versions}; took "
            f"{part['seconds']} s."
        )
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["skipped"]:
        return row["what"], "skipped", "", "", _aim(row), f"skipped: {row['skipped']}"
    how = f"{row['unit']}; {row['how']}"
    ours, baseline, ratio = (_spread(row[name]) for name in ("ours", "baseline", "ratio"))
    return row["what"], ours, baseline, ratio, _aim(row), how


def _spread(values: Mapping[str, float] | None) -> str:
    return "" if values is None else str(Spread(**values))


def _aim(row: Mapping[str, Any]) -> str:
    if row["minimum"] is None:
        return ""
    aim = "" if row["aim"] is None else f" ({row['aim']:g})"
    return f"{row['minimum']:g}{aim}"
