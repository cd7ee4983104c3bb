"""Names the winners of a study from its files: ``trials.parquet`` and the content of its space.

They are the winners that the study itself names. A study whose search goes on may have none yet; of
it the best trials so far are named.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from focusnet.arms import FOCUSNET
from focusnet.winner.best_observed import SEARCH, candidate_rows, winning_row
from focusnet.winner.posterior_mean import Estimated, Landscape, SearchSpace, estimated_best
from focusnet.winner.rules import BEST_OBSERVED, POSTERIOR_MEAN, Rule, doubt

if TYPE_CHECKING:
    import pandas as pd

_ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True, eq=False)
class TableWinner:
    """A stratum's winner.

    Attributes:
        stratum: whose search it won.
        parameters: all searched parameters.
        name: of the winner; None if no trial that exists is or follows it.
        row: of the search's finished trial with these parameters; None: it was never trained there.
        repeats: finished trials that trained it with fresh seeds, the first one first.
        estimate: the metric of the search, as it was observed or is estimated.
        rule: by which it was chosen.
        finished: trials of its stratum, from which it was chosen.
        decided: whether it is the winner for good, and not the best trial so far.
        doubt: why the choice is nearly luck; None if it is not.
    """

    stratum: Any
    parameters: dict[str, Any]
    name: str | None
    row: "pd.Series | None"
    repeats: "pd.DataFrame"
    estimate: float
    rule: Rule
    finished: int
    decided: bool
    doubt: str | None


def table_winners(
    trials: "pd.DataFrame", space: Mapping[str, Any], half: str = "select"
) -> list[TableWinner]:
    """The winners of the strata that have one.

    Args:
        trials: ``trials.parquet``.
        space: the content of ``space.yaml``.
        half: of the test split, on which they are chosen.
    """
    metric = str(space["search"]["metric"]).replace("/select/", f"/{half}/")
    candidates = candidate_rows(trials, metric)
    if candidates.empty:
        return []
    wanted: Rule = space["search"].get("winner") or BEST_OBSERVED
    decided = wanted == BEST_OBSERVED
    if not decided:
        search = search_space(space)
        decided = _all_ended(trials, space, search)
        found = _estimated(trials, candidates, metric, search) if decided else None
        if found is not None:
            return [_of_estimate(trials, one, search) for one in found]
    return list(_best_observed(trials, candidates, metric, space, decided))


def search_space(space: Mapping[str, Any]) -> SearchSpace:
    """What the rule ``posterior_mean`` needs of the content of ``space.yaml``."""
    search = space["search"]
    return SearchSpace(space["space"], search.get("stratify"), int(search.get("seed") or 0))


def landscape(trials: "pd.DataFrame", space: Mapping[str, Any]) -> Landscape:
    """The finished trials of all strata, as the rule ``posterior_mean`` sees them on ``select``."""
    metric = str(space["search"]["metric"])
    return Landscape(search_space(space), _observed(candidate_rows(trials, metric), metric))


def _observed(candidates: "pd.DataFrame", metric: str) -> list[tuple[dict[str, Any], float]]:
    return [(row, float(row[metric])) for row in candidates.to_dict("records")]


def _estimated(
    trials: "pd.DataFrame", candidates: "pd.DataFrame", metric: str, search: SearchSpace
) -> list[Estimated] | None:
    failed = _searched(trials)
    failed = failed[failed["status"] == "failed"]
    return estimated_best(search, _observed(candidates, metric), failed.to_dict("records"))


def _searched(trials: "pd.DataFrame") -> "pd.DataFrame":
    rows = trials[trials["arm"] == FOCUSNET]
    return rows[rows["phase"] == SEARCH] if "phase" in rows else rows


def _all_ended(trials: "pd.DataFrame", space: Mapping[str, Any], search: SearchSpace) -> bool:
    """Whether the searches of all strata have ended."""
    asked = space["search"].get("trials")
    sizes = (len(search.domains[p]["choice"]) for p in search.domains if p != search.stratify)
    if asked is None:  # a grid
        asked = math.prod(sizes)
    rows = _searched(trials)
    rows = rows[rows["status"].isin(_ENDED)]
    if search.stratify is None:
        return len(rows) >= asked
    ended = [search.stratum_of(row) for row in rows.to_dict("records")]
    strata = search.domains[search.stratify]["choice"]
    return all(
        ended.count(stratum) >= (asked[stratum] if isinstance(asked, Mapping) else asked)
        for stratum in strata
    )


def _of_estimate(trials: "pd.DataFrame", one: Estimated, search: SearchSpace) -> TableWinner:
    done = trials[(trials["arm"] == FOCUSNET) & (trials["status"] == "finished")]
    same = done[[search.plain(row) == one.parameters for row in done.to_dict("records")]]
    own = _searched(same)
    repeats = same[same["phase"] == "confirm"] if "phase" in same else same.iloc[:0]
    name = None
    if len(own):
        name = str(own.iloc[0]["trial"])
    else:
        followers = trials[(trials["arm"] == FOCUSNET) & trials["winner"].notna()]
        named = [
            str(row["winner"])
            for row in followers.to_dict("records")
            if search.plain(row) == one.parameters
        ]
        name = named[0] if named else None
    return TableWinner(
        stratum=one.stratum,
        parameters=dict(one.parameters),
        name=name,
        row=own.iloc[0] if len(own) else None,
        repeats=repeats,
        estimate=one.mean,
        rule=POSTERIOR_MEAN,
        finished=one.finished,
        decided=True,
        doubt=doubt(POSTERIOR_MEAN, POSTERIOR_MEAN, one.finished),
    )


def _best_observed(
    trials: "pd.DataFrame",
    candidates: "pd.DataFrame",
    metric: str,
    space: Mapping[str, Any],
    decided: bool,
) -> Iterator[TableWinner]:
    stratify, wanted = space["search"].get("stratify"), space["search"].get("winner")
    groups = [(None, candidates)]
    if stratify is not None:
        groups = list(candidates.groupby(stratify, sort=False, dropna=False))
    for stratum, own in groups:
        row = winning_row(own, metric)
        follows = trials.get("winner", trials["trial"].isna()) == row["trial"]
        repeats = trials[follows & (trials["arm"] == FOCUSNET) & (trials["status"] == "finished")]
        if "phase" in repeats:
            repeats = repeats[repeats["phase"] == "confirm"]
        yield TableWinner(
            stratum=stratum,
            parameters={path: row.get(path) for path in space.get("space", {})},
            name=str(row["trial"]),
            row=row,
            repeats=repeats,
            estimate=float(row[metric]),
            rule=BEST_OBSERVED,
            finished=len(own),
            decided=decided,
            doubt=doubt(wanted, BEST_OBSERVED, len(own)) if wanted and decided else None,
        )
