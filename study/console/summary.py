"""Prints the end of a study: the best trial of each stratum, and where to look further."""

import sys
from collections.abc import Iterable, Sequence
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
from study.search.winners import best_trials, winners
from study.space.space import Space


def print_summary(
    space: Space,
    trials: Iterable[Trial],
    folder: Path,
    command: Command,
    stream: TextIO | None = None,
    looks: Sequence[LookRecord] = (),
) -> None:
    """Print the best trials on ``select`` and the commands that show more.

    ``folder`` is the study's; ``command`` tells from where it is seen.
    """
    stream = stream or sys.stdout
    trials = list(trials)
    finished = [trial for trial in trials if trial.status == "finished"]
    searched = [trial for trial in finished if trial.searched]
    console = Console(file=stream, width=None if stream.isatty() else 100, highlight=False)
    console.print()
    best = _best(space, searched)
    if best is not None:
        console.print(best)
        estimated = _estimated(space, trials)
        if estimated is not None:
            console.print(estimated)
        console.print(
            "Accuracies on the half of the test split that the search sees: the best of many "
            "trials always\nlooks better there than it is. The report judges on the other half."
        )
    confirmed = _confirmed(space, trials)
    if confirmed is not None:
        console.print(confirmed)
        console.print(
            "Means on the half of the test split that each training is judged on, where its "
            "settings were not chosen.\nThe report says, with intervals, whether a difference is "
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


def _best(space: Space, searched: list[Trial]) -> Table | None:
    """The best trial of each stratum; None if no trial of the search has finished."""
    metric = space.search.metric
    by_stratum = best_trials(searched, metric)
    if not by_stratum:
        return None
    names = short_names(space.searched)
    table = Table(title=f"Best trial by {metric}", title_justify="left")
    if space.search.stratify is not None:
        table.add_column(space.search.stratify, justify="right")
    stages = {"template": "template %", "focus": "FocusNet %"}
    if space.has_student:
        stages["student"] = "student %"
    for name in (*names.values(), *stages.values(), "gain", "warm classes"):
        table.add_column(name, justify="right")
    for trial in (by_stratum[stratum] for stratum in space.strata if stratum in by_stratum):
        cells = [] if space.search.stratify is None else [str(trial.stratum)]
        cells += [_cell(trial.parameters[path]) for path in names]
        for column in stages:
            cells.append(_percent(trial.metrics.get(f"{column}/select/macro_accuracy")))
        gain = trial.metrics.get("gain/select/macro_accuracy")
        cells.append("" if gain is None else f"{100 * gain:+.1f}")
        warm = trial.metrics.get("focus/warm_classes")
        cells.append("" if warm is None else f"{warm:.2f}")
        table.add_row(*cells)
    return table


def _estimated(space: Space, trials: list[Trial]) -> Table | None:
    """The settings that all trials together estimate best; None if the best trials win."""
    won = [one for one in winners(space, trials).values() if one.rule == POSTERIOR_MEAN]
    if not won:
        return None
    names = short_names(space.searched)
    table = Table(title="Winners: the settings estimated best", title_justify="left")
    if space.search.stratify is not None:
        table.add_column(space.search.stratify, justify="right")
    for name in (*names.values(), "estimate %"):
        table.add_column(name, justify="right")
    table.add_column("trained in the search")
    for one in won:
        cells = [] if space.search.stratify is None else [str(one.stratum)]
        cells += [_cell(one.parameters[path]) for path in names]
        cells += [_percent(one.estimate), "never" if one.trial is None else "yes"]
        table.add_row(*cells)
    return table


def _confirmed(space: Space, trials: list[Trial]) -> Table | None:
    """Mean accuracies of the winners and their controls with fresh seeds; None without any."""
    belongs = winner_of(space, trials)
    confirmed = [one for one in trials if one.phase == "confirm" and one.id in belongs]
    confirmed = [one for one in confirmed if one.status == "finished"]
    by_stratum = {s: [one for one in confirmed if one.stratum == s] for s in space.strata}
    by_stratum = {s: own for s, own in by_stratum.items() if own}
    if not by_stratum:
        return None
    table = Table(title="Confirmation: macro accuracy, %", title_justify="left")
    table.add_column("")
    for stratum in by_stratum:
        table.add_column(space.label(stratum) or "all", justify="right")

    def row(name: str, stage: str, arm: str) -> None:
        of_arm = [[one for one in trials if one.arm == arm] for trials in by_stratum.values()]
        table.add_row(name, *(_mean(trials, stage) for trials in of_arm))

    row("template", "template", ARM)
    for arm in (ARM, *space.control_arms):
        if arm not in STUDENT_ONLY:
            row(label_of(arm), "focus", arm)
    for arm in (ARM, *space.control_arms) if space.has_student else ():
        row(f"student, {label_of(arm)}", "student", arm)
    seeds = [len({one.seed for one in trials}) for trials in by_stratum.values()]
    table.add_row("seeds", *map(str, seeds))
    return table


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


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
