"""Functions for the notebooks: show sections of the report and clips."""

from collections.abc import Iterable
from pathlib import Path

from IPython.display import Audio, Image, Markdown, display

from analysis.read_study import Study, read_study
from analysis.render.document import Figure, Section, block_to_markdown
from analysis.sections.compare_setting import setting_section

ROOT = Path(__file__).resolve().parent.parent


def show(*sections: Section | Iterable[Section] | None) -> None:
    """Show sections one below the other; None is a section that this study does not have."""
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


def listen(study: Study, filenames: Iterable[str]) -> None:
    """Show a player for each clip; where its recording is not on this machine, its name."""
    for filename in filenames:
        recording = study.audio(filename)
        if recording.is_file():
            display(Markdown(f"`{filename}`"), Audio(filename=recording))
        else:
            display(Markdown(f"`{filename}` in the folder of the data set, which is not here"))


def compare_setting(pattern: str, setting: str, how_to: str) -> Section:
    """Compare a setting between the studies that match ``pattern``.

    Args:
        pattern: glob of results folders, relative to the current folder or the repository's root.
        setting: dotted path, such as ``focus.template_logits``.
        how_to: shown if no study matches: how to make them.
    """
    found = sorted(Path.cwd().glob(pattern)) or sorted(ROOT.glob(pattern))
    studies = [read_study(path) for path in found if (path / "space.yaml").is_file()]
    if not studies:
        return Section(setting, [f"No study matches {pattern} yet. {how_to}"])
    return setting_section(studies, setting)
