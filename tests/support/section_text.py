"""The text of single sections of a study's report."""

from collections.abc import Callable
from pathlib import Path

from analysis.read_study import Study, read_study
from analysis.render.document import Section, to_markdown


def section_text(folder: Path, *sections: Callable[[Study], Section | None]) -> str:
    """Markdown of the sections that the study in ``folder`` has."""
    study = read_study(folder)
    found = [section(study) for section in sections]
    return to_markdown("T", [one for one in found if one is not None])


def flat(text: str) -> str:
    """``text`` on one line, single spaces between words."""
    return " ".join(text.split())
