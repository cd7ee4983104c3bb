"""Says in words what a look at the confirmation has found, and what follows."""

from study.ledger.looks import LookRecord
from study.space.space import Space


def describe_look(space: Space, record: LookRecord) -> list[str]:
    """What a look has found and what follows, one line each, for the study's log."""
    lines = []
    for one in record["strata"]:
        name = space.label(one["stratum"]) or "the study"
        if not one["counted"]:
            lines.append(f"{name} is left out: too few of its trainings have a result")
        elif one["left_out"]:
            lines.append(f"{name}: without {', '.join(one['left_out'])}, which have no result")
    return [*lines, headline(space, record), _FOLLOWS[record["follows"]]]


def headline(space: Space, record: LookRecord) -> str:
    """What a look has found, in a sentence."""
    counted = sum(one["counted"] for one in record["strata"])
    where = "" if space.search.stratify is None else f" on average of {counted} strata"
    head = f"look {record['look']} of {record['of']}"
    if record["estimate"] is None:
        return f"{head}: nothing can be judged, because no stratum has enough trainings"
    return (
        f"{head}: FocusNet {record['estimate']:+.2f} points over its template{where} (95 %: "
        f"{_range(record['interval'])} at new locations, {_range(record['interval_here'])} on "
        f"these; {_p(record)}): {record['verdict']}"
    )


_FOLLOWS = {
    "controls": "the controls of the winners follow, with the same seeds",
    "next look": "more seeds follow, up to the next look",
    "end": "no further training of FocusNet follows",
}


def _range(interval: list[float] | None) -> str:
    return "unknown" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def _p(record: LookRecord) -> str:
    p = "p unknown" if record["p"] is None else f"p {record['p']:.2g}"
    if not record["level"]:
        return f"{p}, but earlier looks have left nothing to claim with"
    return f"{p}, claims at {record['level']:.2g}"
