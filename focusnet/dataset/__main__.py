"""``python -m focusnet.dataset``: tables of what a data set holds, and what is wrong with it."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from focusnet.dataset.check import SAMPLE, check_audio
from focusnet.dataset.check_splits import check_lists
from focusnet.dataset.findings import Findings
from focusnet.dataset.layout import Dataset, read_dataset
from focusnet.errors import DataError
from focusnet.system.processes import default_workers, run_tasks, worker_processes
from focusnet.system.units import size_text

_CLIPS_PER_TASK = 256
_CLIPS_PER_WORKER = 2000  # below, starting another process costs more than it saves

EXAMPLE = f"""example:
  python -m focusnet.dataset /data/TAU-urban-acoustic-scenes-2022-mobile-development

Lists, headers, leaks, duplicates (files equal to the byte) and digital silence are checked for all
clips; damage behind the header and near silence on {SAMPLE:,} of them, or on all with --full.

exit status:
  0  usable, nothing found
  1  usable, with warnings: look at them
  2  not usable: a study would refuse it, or training data is in the test split"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m focusnet.dataset",
        description="Say whether a folder is a usable data set in the TAU22 layout.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with meta.csv in it")
    parser.add_argument("--full", action="store_true", help="decode every clip of both splits")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: the cores there are)"
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
    except KeyboardInterrupt:
        return 130
    findings = Findings()
    subsets = check_lists(dataset, findings)
    most = -(-len(dataset.clips) // _CLIPS_PER_WORKER)
    try:
        with worker_processes(min(options.workers or default_workers(), most)) as pool:
            check_audio(dataset, findings, _runner(pool), full=options.full)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    _show(console, dataset, subsets, findings)
    return _conclude(console, findings, time.monotonic() - started)


def _runner(pool: Executor | None) -> Callable[..., list[Any]]:
    def run(title: str, function: Callable[..., list[Any]], paths: Sequence[str]) -> list[Any]:
        step = _CLIPS_PER_TASK
        tasks = [(paths[at : at + step],) for at in range(0, len(paths), step)]
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        console = Console(stderr=True)
        with Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as bar:
            task = bar.add_task(title, total=len(paths))
            return run_tasks(pool, function, tasks, lambda count: bar.advance(task, count))

    return run


def _show(console: Console, dataset: Dataset, subsets: pd.DataFrame, findings: Findings) -> None:
    console.print(
        f"{dataset.root}: {len(dataset.clips):,} clips, {findings.seconds / 3600:.1f} hours, "
        f"{size_text(findings.bytes)}\n",
        soft_wrap=True,
    )
    clips = dataset.clips
    unused = clips.index.difference(dataset.train).difference(dataset.test)
    parts = {"training": dataset.train, "test": dataset.test, "neither": unused.to_numpy()}
    table = _table("", *parts)
    for label, column in (
        ("clips", None),
        ("recordings", "recording"),
        ("locations", "location"),
        ("cities", "city"),
        ("scenes", "scene"),
        ("devices", "device"),
    ):
        counts = [
            len(rows) if column is None else clips[column].iloc[rows].nunique()
            for rows in parts.values()
        ]
        table.add_row(label, *(f"{count:,}" for count in counts))
    _print(console, table)
    _show_counts(console, dataset, "scene", dataset.classes)
    _show_counts(console, dataset, "device", dataset.devices)
    _show_counts(console, dataset, "city", sorted(clips["city"].unique()))
    if len(subsets):
        table = _table("subset", "clips", "% of training", "recordings", "locations")
        for row in subsets.itertuples(index=False):
            table.add_row(
                str(row.subset),
                f"{row.clips:,}",
                f"{row.share:.2f}",
                f"{row.recordings:,}",
                f"{row.locations:,}",
            )
        _print(console, table)
    else:
        console.print("subsets: no split*.csv in evaluation_setup, so a study draws its own\n")
    table = _table("format", "files")
    for form, count in findings.formats.most_common(8):
        table.add_row(form, f"{count:,}")
    if len(findings.formats) > 8:
        rest = sum(findings.formats.values()) - sum(c for _, c in findings.formats.most_common(8))
        table.add_row(f"{len(findings.formats) - 8:,} other formats", f"{rest:,}")
    _print(console, table)
    recordings = clips["recording"]
    if recordings.nunique() == len(recordings):
        console.print(
            "recordings: the names do not tell them, so each clip counts as its own and pieces of "
            "one recording\nin both splits could not be told\n"
        )


def _show_counts(console: Console, dataset: Dataset, column: str, values: Sequence[str]) -> None:
    """Clips and locations of both splits for each value of a column."""
    table = _table(column, "training clips", "locations", "test clips", "locations")
    parts = [dataset.clips.iloc[rows] for rows in (dataset.train, dataset.test)]
    clips = [part[column].value_counts() for part in parts]
    places = [part.groupby(column)["location"].nunique() for part in parts]
    for value in values:
        counts = [
            int(one.get(value, 0)) for pair in zip(clips, places, strict=True) for one in pair
        ]
        table.add_row(value, *(f"{count:,}" for count in counts))
    _print(console, table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    return table


def _print(console: Console, table: Table) -> None:
    console.print(table)
    console.print()


def _conclude(console: Console, findings: Findings, seconds: float) -> int:
    console.print(f"checked in {seconds:.1f} s:")
    for line in findings.checked:
        console.print(f"  - {line}", soft_wrap=True)
    console.print()
    errors = [problem for problem in findings.problems if problem.severity == "error"]
    warnings = [problem for problem in findings.problems if problem.severity == "warning"]
    for problem in [*errors, *warnings]:
        console.print(f"{problem.severity}: {problem.text}", soft_wrap=True, markup=False)
    if errors:
        counts = f"{_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}"
        console.print(f"not usable: {counts}")
        return 2
    if warnings:
        console.print(f"usable, with {_count(len(warnings), 'warning')}")
        return 1
    console.print("usable: nothing found")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


if __name__ == "__main__":
    sys.exit(main())
