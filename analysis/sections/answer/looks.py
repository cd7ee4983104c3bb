"""Lists the looks at a study: what was seen when, at which level, and what followed."""

import math
from collections.abc import Mapping
from typing import Any

from analysis.inference.plan import information
from analysis.read_study import Study
from analysis.render.document import MISSING, Block, Table, interval, points
from analysis.sections.answer.sentences import p_text, verdict_cell
from focusnet.statistics.looks import look_levels

HEADER = ("look", "taken", "seeds", "effect", "95 % new locations", "p", "claims at p", "verdict",
          "what followed")  # fmt: skip


def looks_blocks(study: Study) -> list[Block]:
    """Every look taken, and those that are planned; nothing for a study without looks."""
    plan = study.plan
    if not plan.are_planned and len(plan.records) < 2:
        return []
    rows = [_taken(study, record) for record in plan.records]
    taken = plan.looks_taken
    if plan.are_planned:
        levels = _planned_levels(study)
        rows += [
            (str(look), "", _counts(plan.looks[look - 1].values()), MISSING, MISSING, MISSING,
             f"{levels[look - 1]:.2g}", "planned" if not _has_ended(study) else "not needed", "")
            for look in range(taken + 1, len(plan.looks) + 1)
        ]  # fmt: skip
    blocks: list[Block] = [
        "Looks: the seeds are trained in steps, and the study ends early at a gain, a loss or a "
        "difference smaller than the margin. Looking several times would claim too often, so each "
        "look has a level of its own; together they claim falsely in 5 % of studies.",
        Table(HEADER, rows, frozenset({"taken", "seeds", "verdict", "what followed"})),
    ]
    if len(plan.records) > len(plan.looks):
        blocks.append(
            f"{len(plan.records)} looks were taken where {len(plan.looks)} were planned, so the "
            "study was planned anew after it had been looked at."
        )
    return blocks


def _taken(study: Study, record: Mapping[str, Any]) -> tuple[str, ...]:
    strata = record.get("strata") or ()
    seeds = [sum(len(own) for own in one["seeds"].values()) for one in strata]
    low, high = record.get("interval") or (math.nan, math.nan)
    estimate, p = record.get("estimate"), record.get("p")
    return (
        str(record["look"]),
        str(record.get("time", ""))[:16].replace("T", " "),
        _counts(seeds),
        MISSING if estimate is None else points(estimate / 100),
        interval(low / 100, high / 100),
        MISSING if p is None else p_text(p),
        f"{record['level']:.2g}",
        verdict_cell(record.get("verdict", ""), study.claims),
        str(record.get("follows", "")),
    )


def _counts(seeds: Any) -> str:
    return ", ".join(str(count) for count in seeds)


def _planned_levels(study: Study) -> tuple[float, ...]:
    return look_levels(information([list(one.values()) for one in study.plan.looks]))


def _has_ended(study: Study) -> bool:
    """Whether the last look has ended the study early."""
    records = study.plan.records
    return bool(records) and records[-1].get("verdict") in ("gain", "loss", "small")
