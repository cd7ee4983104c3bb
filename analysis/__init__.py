"""Reads a study's results: report, notebooks, and data frames for questions of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.read_study import Study

__all__ = ["open_study"]

_ROOT = Path(__file__).resolve().parent.parent


def open_study(path: str | Path) -> "Study":
    """Read the study at ``path``, relative to the current folder or the repository's root.

    The study may be running, interrupted or partly failed. Its tables are data frames:
    ``trials``, ``epochs``, ``predictions(trial)``, ``confirmed()``, ``effects()``,
    ``confusions(...)``; their docstrings have columns and units.

    Raises:
        NotAStudy: there is no study.
    """
    from analysis.read_study import read_study  # with scipy, which not every import needs

    given = Path(path).expanduser()
    return read_study(given if given.exists() else _ROOT / given)
