"""What the notebooks call: find a study wherever Jupyter was started, show parts of a report."""

from collections.abc import Iterable
from pathlib import Path

from IPython.display import Image, Markdown, display

from analysis.read_study import Study, read_study
from analysis.render.document import Figure, Section, block_to_markdown
from analysis.sections.settings import setting_section

ROOT = Path(__file__).resolve().parent.parent


def open_study(path: str | Path) -> Study:
    """Read the study at ``path``, from the current folder or from the repository's root.

    Raises:
        NotAStudy: there is none.
    """
    given = Path(path).expanduser()
    return read_study(given if given.exists() else ROOT / given)


def show(*sections: Section | Iterable[Section] | None) -> None:
    """Show parts of a report, one below the other; None is a part that this study does not have."""
    for section in sections:
        if section is None:
            display(Markdown("*This study has nothing to show here.*"))
        elif isinstance(section, Section):
            _show_section(section)
        else:
            show(*section)


def _show_section(section: Section) -> None:
    display(Markdown(f"### {section.title}"))
    for block in section.blocks:
        if isinstance(block, Figure):
            display(Image(block.png, alt=block.alt))
            display(Markdown(f"*{block.caption}*"))
        else:
            display(Markdown(block_to_markdown(block)))


def compare_setting(pattern: str, setting: str, how_to: str) -> Section:
    """``setting_section`` of the studies that match ``pattern``; ``how_to`` if there are none."""
    here = Path.cwd()
    found = sorted(here.glob(pattern)) or sorted(ROOT.glob(pattern))
    studies = [open_study(path) for path in found if (path / "space.yaml").is_file()]
    if not studies:
        return Section(setting, [f"{pattern}: there are no such studies yet. {how_to}"])
    return setting_section(studies, setting)
