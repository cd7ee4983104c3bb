"""Shows how long trials took, and how many templates were trained and reused."""

import pandas as pd

from analysis.read_study import Study
from analysis.render.document import Block, Section, Table, number
from analysis.tables.parameters import show
from focusnet.arms import label_of

HOUR = 3600
_PHASES = {"search": "search", "controls": "controls", "confirm": "confirmation"}


def costs_section(study: Study) -> Section | None:
    """Seconds and hours by stratum and phase; None if no trial has finished."""
    table = costs_table(study)
    if table.empty:
        return None
    gpu = study.resources("gpu")
    header = ["stratum", "phase", "trials", "templates trained", "reused", "seconds per trial",
              "hours", "CPU-hours", *(["GPU-hours"] if gpu else [])]  # fmt: skip
    rows = [
        (
            one["stratum"],
            one["phase"],
            str(one["trials"]),
            str(one["trained"]),
            str(one["reused"]),
            number(one["seconds"], 0),
            show(one["hours"]),
            show(one["hours"] * study.resources("cpu")),
            *((show(one["hours"] * gpu),) if gpu else ()),
        )
        for _, one in table.iterrows()
    ]
    blocks: list[Block] = [
        "Finished trials: median seconds per trial, and the sum in hours. CPU-hours are hours "
        f"times the {study.resources('cpu'):g} CPU"
        + (f", GPU-hours times the {gpu:g} GPU," if gpu else "")
        + " that a trial occupies. A trial's time includes training a new template, or waiting for "
        "another trial that trains it, but nothing for a template that was there.",
        Table(tuple(header), rows, words=frozenset({"stratum", "phase"})),
        *_arms(study),
    ]
    return Section("Time", blocks)


def costs_table(study: Study) -> pd.DataFrame:
    """A row per stratum and phase: ``trials``, ``trained``, ``reused``, ``seconds``, ``hours``."""
    rows = []
    for stratum in study.strata:
        for phase, name in _PHASES.items():
            trials = study.of_stratum(stratum.value)
            done = trials[(trials["phase"] == phase) & (trials["status"] == "finished")]
            if "seconds" not in done or done["seconds"].dropna().empty:
                continue
            reused = done.get("template_reused", pd.Series(dtype=object)).dropna().astype(bool)
            seconds = done["seconds"].dropna().astype(float)
            rows.append(
                {
                    "stratum": stratum.label,
                    "phase": name,
                    "trials": len(done),
                    "trained": int((~reused).sum()),
                    "reused": int(reused.sum()),
                    "seconds": float(seconds.median()),
                    "hours": float(seconds.sum()) / HOUR,
                }
            )
    return pd.DataFrame(rows)


def _arms(study: Study) -> list[Block]:
    """Time of the second stage by arm, if there are several arms and strata."""
    done = study.trials[study.trials["status"] == "finished"]
    if "focus/seconds" not in done or done["arm"].nunique() < 2 or not study.stratify:
        return []
    values = [stratum.value for stratum in study.strata if stratum.value is not None]
    medians = done.pivot_table(
        index="arm", columns=study.stratify, values="focus/seconds", aggfunc="median", sort=False
    )
    header = ("second stage", *(f"{stratum.label}: s" for stratum in study.strata))
    rows = [
        (label_of(str(arm)), *(number(float(one.get(value, float("nan"))), 0) for value in values))
        for arm, one in medians.iterrows()
    ]
    return [
        "Median seconds of the second stage alone:",
        Table(header, rows, words=frozenset({header[0]})),
    ]
