"""Command that checks a data set and prints tables of its clips: ``python -m focusnet.dataset``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from focusnet.dataset.check import SAMPLE, check_audio
from focusnet.dataset.check_report import CheckReport
from focusnet.dataset.check_splits import SubsetCounts, check_splits
from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.errors import DataError
from focusnet.system.processes import default_workers, worker_processes
from focusnet.system.units import size_text

_CLIPS_PER_WORKER = 2000  # for fewer, starting another process costs more time than it saves
_FORMATS = 8  # rows of the table of formats; the other formats follow in one row

EXAMPLE = f"""example:
  python -m focusnet.dataset /data/TAU-urban-acoustic-scenes-2022-mobile-development

All clips are checked for problems in the lists and headers, for leaks between the splits, for
duplicates (byte-identical files) and for digital silence. {SAMPLE:,} clips, or all with --full, are
decoded to find near silence and damage behind the header.

exit status:
  0  usable, no problem found
  1  usable, with warnings that you should read
  2  not usable: a study would refuse it, or training data is in the test split"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.dataset",
        description="Check whether a folder is a usable data set in the TAU22 layout.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that contains meta.csv")
    parser.add_argument("--full", action="store_true", help="decode every clip of both splits")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="number of processes (default: one per CPU core)"
    )
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers: must be at least 1, received {options.workers}")
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    started = time.monotonic()
    try:
        dataset = read_dataset(options.folder)
    except DataError as error:
        print("\n".join(error.problems), file=sys.stderr)
        print(f"not usable: {_count(len(error.problems), 'problem')}", file=sys.stderr)
        return 2
    report = CheckReport()
    subsets = check_splits(dataset, report)
    most = -(-len(dataset.clips) // _CLIPS_PER_WORKER)
    try:
        with worker_processes(min(options.workers or default_workers(), most)) as pool:
            check_audio(dataset, report, pool, full=options.full)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    _print_tables(console, dataset, subsets, report)
    return _print_result(console, report, time.monotonic() - started)


def _print_tables(
    console: Console, dataset: Dataset, subsets: Sequence[SubsetCounts], report: CheckReport
) -> None:
    console.print(
        f"{dataset.root}: {len(dataset.clips):,} clips, {report.seconds / 3600:.1f} hours, "
        f"{size_text(report.bytes)}\n",
        soft_wrap=True,
    )
    _print_splits(console, dataset)
    _print_counts(console, dataset, "scene", dataset.classes)
    _print_counts(console, dataset, "device", dataset.devices)
    _print_counts(console, dataset, "city", sorted(dataset.clips["city"].unique()))
    if subsets:
        table = _table("training subset", "clips", "% of training", "recordings", "locations")
        for subset in subsets:
            share = f"{subset.share:.2f}"
            counts = (subset.recordings, subset.locations)
            table.add_row(f"{subset.percent} %", f"{subset.clips:,}", share, *map(_number, counts))
        _print(console, table)
    else:
        console.print("no subset lists (evaluation_setup/split*.csv): a study draws its subsets\n")
    table = _table("format", "files")
    for form, count in report.formats.most_common(_FORMATS):
        table.add_row(form, _number(count))
    rest = report.formats.most_common()[_FORMATS:]
    if rest:
        table.add_row(f"{len(rest):,} other formats", _number(sum(count for _, count in rest)))
    _print(console, table)
    if dataset.clips["recording"].is_unique:
        console.print(
            "File names do not show which clips belong to one recording, so each clip counts as a\n"
            "recording of its own. Recordings with clips in both splits cannot be found.\n"
        )


def _print_splits(console: Console, dataset: Dataset) -> None:
    """Print how many clips, recordings, locations and so on each split has."""
    clips = dataset.clips
    unused = clips.index.difference(dataset.train).difference(dataset.test)
    parts = {"training": dataset.train, "test": dataset.test, "in neither": unused.to_numpy()}
    table = _table("", *parts)
    table.add_row("clips", *(_number(len(rows)) for rows in parts.values()))
    for title, column in (
        ("recordings", "recording"),
        ("locations", "location"),
        ("cities", "city"),
        ("scenes", "scene"),
        ("devices", "device"),
    ):
        counts = (clips[column].iloc[rows].nunique() for rows in parts.values())
        table.add_row(title, *map(_number, counts))
    _print(console, table)


def _print_counts(console: Console, dataset: Dataset, column: str, values: Sequence[str]) -> None:
    """Print the clips and locations of both splits for each value of a column."""
    table = _table(column, "training clips", "locations", "test clips", "locations")
    parts = [dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test)]
    columns = []
    for part in parts:
        columns += [part[column].value_counts(), part.groupby(column)["location"].nunique()]
    for value in values:
        table.add_row(value, *(_number(int(counts.get(value, 0))) for counts in columns))
    _print(console, table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    return table


def _print(console: Console, table: Table) -> None:
    console.print(table)
    console.print()


def _print_result(console: Console, report: CheckReport, seconds: float) -> int:
    """Print what was checked, the problems and the verdict; return the exit status."""
    console.print(f"checked in {seconds:.1f} s:")
    for line in report.coverage:
        console.print(f"  - {line}", soft_wrap=True)
    console.print()
    for problem in report.errors:
        console.print(f"error: {problem}", soft_wrap=True, markup=False)
    for problem in report.warnings:
        console.print(f"warning: {problem}", soft_wrap=True, markup=False)
    warnings = _count(len(report.warnings), "warning")
    if report.errors:
        console.print(f"not usable: {_count(len(report.errors), 'error')}, {warnings}")
        return 2
    if report.warnings:
        console.print(f"usable, with {warnings}")
        return 1
    console.print("usable: no problem found")
    return 0


def _number(number: int) -> str:
    return f"{number:,}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


if __name__ == "__main__":
    sys.exit(main())
