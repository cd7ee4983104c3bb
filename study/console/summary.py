"""Prints the end of a study: the winners, their confirmation, and where to look further."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from focusnet.arms import FEW_WARM_CLASSES, FEW_WARM_NOTE, STUDENT_ONLY, label_of
from focusnet.config import short_names
from focusnet.winner import POSTERIOR_MEAN
from study.console.command import Command
from study.console.look_text import headline
from study.ledger.ledger import ARM, Trial
from study.ledger.looks import LookRecord
from study.outputs.optuna_journal import FILE as JOURNAL
from study.search.follow_up import winner_of
from study.search.winners import Winner, winners
from study.space.space import Space

_NARROW = 60  # columns; a terminal with fewer gets lists in place of tables


def print_summary(
    space: Space,
    trials: Iterable[Trial],
    folder: Path,
    command: Command,
    stream: TextIO | None = None,
    looks: Sequence[LookRecord] = (),
) -> None:
    """Print the winners, the means of the confirmation, and the commands that show more.

    ``folder`` is the study's; ``command`` tells from where it is seen.
    """
    stream = stream or sys.stdout
    trials = list(trials)
    searched = [trial for trial in trials if trial.status == "finished" and trial.searched]
    console = Console(file=stream, width=None if stream.isatty() else 100, highlight=False)
    console.print()
    found = winners(space, trials)
    if found:
        _print_winners(console, space, list(found.values()))
    confirmed = _confirmed(space, trials)
    if confirmed is not None:
        confirmed.show(console)
        console.print(
            "Means on the half of the test split that each training is judged on, where its "
            "settings were not chosen. The report says, with intervals, whether a difference is "
            "more than noise."
        )
    for look in looks:
        console.print(headline(space, look))
    few = [t for t in searched if t.metrics.get("focus/warm_classes", 9.0) < FEW_WARM_CLASSES]
    if few:
        console.print(f"Note: in {len(few)} of {len(searched)} trials {FEW_WARM_NOTE}.")
    where = command.shown(folder)
    console.print(f"Results: {where} (trials.parquet, epochs.parquet, predictions/, study.log)")
    console.print(f"  python analysis/report.py {where}", soft_wrap=True)
    console.print(f"  tensorboard --logdir {command.shown(folder / 'ray')}", soft_wrap=True)
    console.print(f"  optuna-dashboard {command.shown(folder / JOURNAL)}", soft_wrap=True)


@dataclass(frozen=True)
class _Cells:
    """A table, which a narrow terminal gets as a list."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def show(self, console: Console) -> None:
        """Print it."""
        console.print(self.title)
        if console.width < _NARROW:
            for name, *cells in self.rows:
                pairs = zip(self.columns[1:], cells, strict=True)
                text = ", ".join(f"{column} {cell}" for column, cell in pairs)
                console.print(f"  {self.columns[0]} {name}: {text}".replace("   ", "  "))
            return
        table = Table()
        for column in self.columns:
            table.add_column(column, justify="right" if column else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)


def _print_winners(console: Console, space: Space, found: Sequence[Winner]) -> None:
    """Print each search's winner, and why its accuracy is no result."""
    names = short_names(space.searched)
    estimated = any(one.rule == POSTERIOR_MEAN for one in found)
    columns = [space.search.stratify or "search of", *names.values()]
    columns += ["estimate %" if estimated else "accuracy %", "warm classes"]
    rows = []
    for one in found:
        warm = None if one.trial is None else one.trial.metrics.get("focus/warm_classes")
        rows.append(
            [
                "all trials" if one.stratum is None else str(one.stratum),
                *(_cell(one.parameters[path]) for path in names),
                f"{100 * one.estimate:.1f}",
                "not trained" if one.trial is None else _cell(warm),
            ]
        )
    title = f"Winners by {space.search.metric}"
    _Cells(f"{title}, estimated from all trials" if estimated else title, columns, rows).show(
        console
    )
    console.print(
        "On the half of the test split that the search sees, where a winner looks better than it "
        "is. The report judges on the other half."
    )


def _confirmed(space: Space, trials: list[Trial]) -> _Cells | None:
    """Mean accuracies of the winners and their controls with fresh seeds; None without any."""
    belongs = winner_of(space, trials)
    confirmed = [one for one in trials if one.phase == "confirm" and one.id in belongs]
    confirmed = [one for one in confirmed if one.status == "finished"]
    by_stratum = {s: [one for one in confirmed if one.stratum == s] for s in space.strata}
    by_stratum = {s: own for s, own in by_stratum.items() if own}
    if not by_stratum:
        return None
    rows: list[list[str]] = []

    def row(name: str, stage: str, arm: str) -> None:
        of_arm = [[one for one in trials if one.arm == arm] for trials in by_stratum.values()]
        rows.append([name, *(_mean(trials, stage) for trials in of_arm)])

    row("template", "template", ARM)
    for arm in (ARM, *space.control_arms):
        if arm not in STUDENT_ONLY:
            row(label_of(arm), "focus", arm)
    for arm in (ARM, *space.control_arms) if space.has_student else ():
        row(f"student, {label_of(arm)}", "student", arm)
    seeds = [len({one.seed for one in trials}) for trials in by_stratum.values()]
    rows.append(["seeds", *map(str, seeds)])
    columns = ["", *(space.label(stratum) or "all" for stratum in by_stratum)]
    return _Cells("Confirmation: macro accuracy, %", columns, rows)


def _mean(trials: list[Trial], stage: str) -> str:
    """The mean accuracy of a stage: of each half the mean over its trainings, then over halves."""
    halves: dict[str, list[float]] = {}
    for trial in trials:
        half = trial.judged_on or "report"
        value = trial.metrics.get(f"{stage}/{half}/macro_accuracy")
        if value is not None:
            halves.setdefault(half, []).append(value)
    means = [sum(values) / len(values) for values in halves.values()]
    return f"{100 * sum(means) / len(means):.1f}" if means else ""


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
