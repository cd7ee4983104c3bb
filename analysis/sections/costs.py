"""The report's part on time: what trials took, and what sharing templates saved."""

import pandas as pd

from analysis.read_study import Study
from analysis.render.document import Block, Section, Table, number
from analysis.tables.parameters import show
from focusnet.arms import label_of

HOUR = 3600
_PHASES = {"search": "search", "controls": "controls", "confirm": "confirmation"}


def costs_section(study: Study) -> Section | None:
    """Seconds and hours by stratum and phase; None before any trial has finished."""
    table = costs_table(study)
    if table.empty:
        return None
    gpu = study.resources("gpu")
    header = ["stratum", "phase", "trials", "templates trained", "reused", "seconds a trial",
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
        "Finished trials. Seconds a trial: the median; hours: the sum, times the "
        f"{study.resources('cpu'):g} CPU"
        + (f" and {gpu:g} GPU" if gpu else "")
        + " that a trial occupies. A trial that needed a new template has its training in its "
        "time, or its waiting for another trial that made it; one that found it has not.",
        Table(tuple(header), rows, words=frozenset({"stratum", "phase"})),
        *_arms(study),
    ]
    return Section("Time", blocks)


def costs_table(study: Study) -> pd.DataFrame:
    """A row a stratum and phase: ``trials``, ``trained``, ``reused``, ``seconds``, ``hours``."""
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
    """What a second stage costs by arm, where there are several."""
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
