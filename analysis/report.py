"""Command that reports on a study: prints the answer, and writes the report with figures as HTML.

python analysis/report.py results/demo
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.exploration.page_data import explore_data
from analysis.read_study import NotAStudy, Study, read_study
from analysis.render.document import Figure, Section, to_markdown, to_short_text, to_text
from analysis.render.explore import to_explore_html
from analysis.render.html import to_html
from analysis.sections.answer.noise import noise_section
from analysis.sections.answer.verdicts import answer_section
from analysis.sections.arms import arms_section
from analysis.sections.changes import classes_section, confusions_section, devices_section
from analysis.sections.costs import costs_section
from analysis.sections.evidence import main_evidence
from analysis.sections.missing import missing_section
from analysis.sections.provenance import provenance_section
from analysis.sections.search_results import search_section
from analysis.sections.sensitivity import parameters_section
from analysis.sections.subset_curve import subset_section
from analysis.sections.trials import trials_section
from analysis.sections.two_objectives import two_objectives_section

DONE, WRONG_INPUT = 0, 2
_ANSWER_LINES = 15


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        study = read_study(Path(options.study))
        folder = study.folder / "report"
        title, sections = build_report(study)
        written = write_report(folder, title, sections)
        page = folder / "explore.html"
        page.write_text(to_explore_html(f"Study {study.name}", explore_data(study)), "utf-8")
        written.append(page)
    except (NotAStudy, OSError) as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # it may lack characters of a scene's name
    try:
        if options.full:
            print(to_text(title, sections, str(folder)))
        else:
            print(to_short_text(title, sections[0], _ANSWER_LINES))
        print(f"\nWritten: {', '.join(str(path) for path in written)}")
        if not options.full:
            print("They hold the whole report; --full prints it here.", flush=True)
    except BrokenPipeError:  # the reader (head, less) has quit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def build_report(study: Study) -> tuple[str, list[Section]]:
    """Return the title and the sections of the report, the answer first."""
    evidence = main_evidence(study)
    sections = [
        answer_section(study),
        missing_section(study),
        arms_section(study),
        subset_section(study),
        noise_section(study),
        classes_section(study),
        confusions_section(evidence),
        devices_section(study, evidence),
        search_section(study),
        parameters_section(study),
        two_objectives_section(study),
        trials_section(study),
        costs_section(study),
        provenance_section(study),
    ]
    return f"Study {study.name}: does FocusNet help?", [one for one in sections if one is not None]


def write_report(folder: Path, title: str, sections: Sequence[Section]) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the figures that the latter links to."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()  # a figure of an earlier report that may not be drawn any more
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                (folder / block.file).write_bytes(block.png)
    page, text = folder / "report.html", folder / "report.md"
    page.write_text(to_html(title, sections), encoding="utf-8")
    text.write_text(to_markdown(title, sections), encoding="utf-8", errors="replace")
    return [page, text]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python analysis/report.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Report on a study, finished or not. Prints the answer, and writes\n"
        "report.html (one file with everything), report.md with its figures, and explore.html\n"
        "(every trial, to filter and look at in a browser) to the study's report/ folder.",
        epilog="example:\n  python analysis/report.py results/demo\n\n"
        "exit status: 0 done, 2 the folder is not the results of a study",
    )
    parser.add_argument("--full", action="store_true", help="print the whole report")
    parser.add_argument("study", metavar="results/NAME", help="folder of a study's results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
