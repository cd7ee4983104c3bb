"""Names the rules by which a winner is chosen, and says what is to be doubted about a winner."""

from typing import Literal

Rule = Literal["posterior_mean", "best_observed"]
POSTERIOR_MEAN: Rule = "posterior_mean"
BEST_OBSERVED: Rule = "best_observed"
FEWEST_TRIALS = 8  # of a stratum; with fewer, the choice is nearly luck
NEVER_TRAINED = "setting estimated best (never trained in the search)"


def doubt(wanted: str, used: str, finished: int) -> str | None:
    """What is to be said against a winner that was chosen from few trials; None if nothing is.

    Args:
        wanted: the rule of the study.
        used: the rule by which the winner was chosen.
        finished: trials of its stratum.
    """
    if wanted != POSTERIOR_MEAN:
        return None
    if used != wanted:
        return (
            f"{finished} finished trials in its search, too few for an estimate: it is the best "
            "observed one, and the choice is nearly luck"
        )
    if finished < FEWEST_TRIALS:
        return (
            f"{finished} finished trials in its search, fewer than {FEWEST_TRIALS}: the choice is "
            "nearly luck"
        )
    return None
