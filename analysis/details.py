"""The report's tables of details: all trials, confused pairs, devices."""

import math

import pandas as pd

from analysis.confusions import MOST_CONFUSED, most_confused
from analysis.document import MISSING, Block, Figure, Section, Table, number, percent, points
from analysis.parameters import short_names, show
from analysis.study_files import Stratum, Study, value_of

SELECT = "{}/select/macro_accuracy"
# As TAU Urban Acoustic Scenes defines its devices; the study computes the groups' accuracies.
GROUPS = {
    "real": "real (a, b, c)",
    "seen": "simulated, in training (s1-s3)",
    "unseen": "simulated, test only (s4-s6)",
}
WINNER = "winner"


def trials_section(study: Study, figures: list[Figure]) -> Section:
    """Every trial with its parameters and what it reached on select."""
    names = short_names(study.parameters)
    header = (
        *((study.stratify.rpartition(".")[2],) if study.stratify else ()),
        *names.values(),
        "template %",
        "FocusNet %",
        "gain",
        "warm classes",
        "only label warm %",
        "seconds",
        "status",
        "trial",
    )
    rows = [
        _trial_row(study, stratum, trial)
        for stratum in study.strata
        for _, trial in _best_first(stratum.trials, study.metric).iterrows()
    ]
    if not rows:
        return Section("Trials", ["No trial has been handed out yet."])
    blocks: list[Block] = [
        "Macro accuracies on select, the half of the test locations that the search sees; the "
        f"best first by {study.metric}, each winner named. A trial that did not finish "
        "has what its last epoch had. The last column is the end of the trial's name in "
        "trials.parquet and predictions/.",
        Table(header, rows, words=frozenset({"status", "trial"})),
        *figures,
    ]
    return Section("Trials", blocks)


def _best_first(trials: pd.DataFrame, metric: str) -> pd.DataFrame:
    rank = {"finished": 0, "stopped": 1, "running": 2, "pending": 3, "failed": 4}
    keys = pd.DataFrame(
        {
            "status": trials["status"].map(lambda status: rank.get(status, len(rank))),
            "value": -trials[metric] if metric in trials else 0.0,
        }
    )
    return trials.loc[keys.sort_values(["status", "value"], kind="stable").index]


def _trial_row(study: Study, stratum: Stratum, trial: pd.Series) -> tuple[str, ...]:
    before, after = (value_of(trial, SELECT.format(stage)) for stage in ("template", "focus"))
    seconds = value_of(trial, "seconds")
    won = stratum.winner is not None and stratum.winner["trial"] == trial["trial"]
    return (
        *((show(stratum.value),) if study.stratify else ()),
        *(show(trial.get(path)) for path in study.parameters),
        percent(before),
        percent(after),
        # Before its end, a trial's FocusNet is compared with a template that trained longer.
        points(value_of(trial, "gain/select/macro_accuracy")),
        number(value_of(trial, "focus/warm_classes"), 2),
        percent(value_of(trial, "focus/only_label_warm")),
        number(seconds, 0),
        _status(study, trial) + (f", {WINNER}" if won else ""),
        str(trial["trial"]).rpartition("-")[2],
    )


def _status(study: Study, trial: pd.Series) -> str:
    """With the epoch that it reached, where a trial is under way or was stopped there."""
    status = str(trial["status"])
    if status not in ("stopped", "running"):
        return status
    epochs = study.epochs[study.epochs["trial"] == trial["trial"]]
    if epochs.empty:
        return status
    last = epochs.iloc[-1]
    return f"{status} ({last['stage']} epoch {last['epoch']}/{last['epochs']})"


def confusions_section(stratum: Stratum | None, figures: list[Figure]) -> Section:
    """What is taken for what, before and after, in the winner with the most data."""
    if stratum is None or stratum.clips is None:
        return Section("Confusions", ["There are no predictions of a finished trial yet."])
    pairs = most_confused(stratum.clips)
    table = Table(
        ("scenes", "template %", "rank", "FocusNet %", "rank after", "change"),
        [
            (
                f"{pair.one} / {pair.other}",
                number(pair.template, 1),
                str(pair.template_rank),
                number(pair.focus, 1),
                str(pair.focus_rank),
                points((pair.focus - pair.template) / 100),
            )
            for pair in pairs.itertuples()
        ],
        words=frozenset({"scenes"}),
    )
    about = (
        f"The winner of {stratum.label} on report. The {MOST_CONFUSED} most confused pairs of the "
        f"template and the {MOST_CONFUSED} of FocusNet: of the clips of two scenes, the share "
        "taken for the other one (mean of both directions); change in points. Pairs picked "
        "because the template confuses them tend to shrink by chance alone."
    )
    return Section("Confusions", [about, table, *figures])


def devices_section(stratum: Stratum | None) -> Section:
    """Accuracy by device and device group of the winner with the most data."""
    title = "Devices"
    if stratum is None or stratum.winner is None or stratum.clips is None:
        return Section(title, ["There are no predictions of a finished trial yet."])
    clips = stratum.clips
    right = pd.DataFrame(
        {
            stage: clips[stage].astype(str) == clips["scene"].astype(str)
            for stage in ("template", "focus")
        }
    )
    by_device = right.groupby(clips["device"]).agg(["mean", "size"])
    rows = [
        _device_row(
            str(device),
            row[("template", "mean")],
            row[("focus", "mean")],
            str(int(row[("template", "size")])),
        )
        for device, row in by_device.iterrows()
    ]
    for group, label in GROUPS.items():
        before, after = (
            value_of(stratum.winner, f"{stage}/report/group/{group}")
            for stage in ("template", "focus")
        )
        if not math.isnan(before):
            rows.append(_device_row(label, before, after, MISSING))
    table = Table(
        ("device", "clips", "template %", "FocusNet %", "change"), rows, frozenset({"device"})
    )
    about = (
        f"The winner of {stratum.label} on report: share of clips that are right, change in "
        "points. Few clips a device make these numbers coarse."
    )
    return Section(title, [about, table])


def _device_row(name: str, before: float, after: float, clips: str) -> tuple[str, ...]:
    return name, clips, percent(before), percent(after), points(after - before)
