"""The report's command: read a study's results, print what they say, write it with figures.

python analysis/report.py results/demo
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first; the files import each other as ``analysis.effects``,
    # here as in tests and notebooks, so that each is one module under one name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from analysis.answer import answer
from analysis.details import confusions_section, devices_section, trials_section
from analysis.document import Figure, Section, to_markdown, to_text
from analysis.figures import (
    GAIN,
    draw_confusions,
    draw_gains,
    draw_learning_curves,
    learning_curves,
)
from analysis.gaps import missing
from analysis.origins import provenance_section
from analysis.study_files import NotAStudy, Study, read_study

DONE, WRONG_INPUT = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        study = read_study(Path(options.study))
        folder = study.folder / "report"
        folder.mkdir(exist_ok=True)
        title, sections = build_report(study, folder)
        text = to_markdown(title, sections)
        (folder / "report.md").write_text(text, encoding="utf-8")
    except (NotAStudy, OSError) as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a scene's name may be more than it can show
    try:
        print(to_text(title, sections, str(folder)))
        print(f"\nWritten: {folder / 'report.md'}", flush=True)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def build_report(study: Study, folder: Path) -> tuple[str, list[Section]]:
    """All of the report; its figures are drawn into ``folder``."""
    for old in folder.glob("*.png"):
        old.unlink()  # of an earlier state of the study; what is drawn now may be less
    unfinished = missing(study)
    sections = [
        answer(study),
        *([unfinished] if unfinished else []),
        trials_section(study, [*_gains(study, folder), *_curves(study, folder)]),
        confusions_section(study.largest, _confusions(study, folder)),
        devices_section(study.largest),
        provenance_section(study),
    ]
    return f"Study {study.name}: does FocusNet help?", sections


def _confusions(study: Study, folder: Path) -> list[Figure]:
    if study.largest is None:
        return []
    draw_confusions(study.largest, folder / "confusions.png")
    return [
        Figure(
            "confusions.png",
            f"Confusions on report of the winner of {study.largest.label}: of the clips of each "
            "true scene (row), the percentage taken for each scene (column).",
        )
    ]


def _gains(study: Study, folder: Path) -> list[Figure]:
    parameters = [one for one in study.parameters.values() if one.is_numeric]
    finished = study.trials[study.trials["status"] == "finished"]
    if not parameters or GAIN not in finished or finished[GAIN].dropna().empty:
        return []
    draw_gains(study, parameters, folder / "gains.png")
    return [
        Figure(
            "gains.png",
            "Gain of every finished trial on select against the searched parameters; the winners "
            "are ringed. The search saw these clips: high points are partly luck.",
        )
    ]


def _curves(study: Study, folder: Path) -> list[Figure]:
    strata = [stratum for stratum in study.winners if learning_curves(study, stratum)]
    if not strata:
        return []
    draw_learning_curves(study, strata, folder / "learning_curves.png")
    return [
        Figure(
            "learning_curves.png",
            "Macro accuracy on select by epoch: each stratum's winner and its template.",
        )
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python analysis/report.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Report on a study, finished or not: prints it, and writes report.md with\n"
        "figures to the report/ folder of the study.",
        epilog="example:\n  python analysis/report.py results/demo\n\n"
        "exit status: 0 done, 2 the folder holds no study",
    )
    parser.add_argument("study", metavar="results/NAME", help="folder of a study's results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
