"""Picks the winners of a search: the rules that the study, its report and its export follow.

By the rule ``best_observed`` the best finished trial of a stratum wins, by ``posterior_mean`` the
settings that all trials together estimate best there, which need not have been tried.
"""

from focusnet.winner.best_observed import (
    SEARCH,
    candidate_rows,
    is_candidate,
    position_of_best,
    winning_row,
)
from focusnet.winner.posterior_mean import Estimated, Landscape, SearchSpace, estimated_best
from focusnet.winner.rules import (
    BEST_OBSERVED,
    FEWEST_TRIALS,
    NEVER_TRAINED,
    POSTERIOR_MEAN,
    Rule,
    doubt,
)
from focusnet.winner.tables import TableWinner, landscape, table_winners

__all__ = [
    "BEST_OBSERVED",
    "FEWEST_TRIALS",
    "NEVER_TRAINED",
    "POSTERIOR_MEAN",
    "SEARCH",
    "Estimated",
    "Landscape",
    "Rule",
    "SearchSpace",
    "TableWinner",
    "candidate_rows",
    "doubt",
    "estimated_best",
    "is_candidate",
    "landscape",
    "position_of_best",
    "table_winners",
    "winning_row",
]
