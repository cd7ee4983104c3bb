"""Estimates how good the best of n trials is, for each n up to the number of trials that ran.

An arm that was searched with more trials has a better best trial for that alone. The curve of the
expected best over n compares arms at equal budgets (Dodge et al., EMNLP 2019; here the trials are
drawn without replacement, and the best one on one half is scored on the other, so that luck in the
choice does not count).
"""

import numpy as np
from scipy import special

from focusnet.statistics.pooled import Floats


def expected_best(chosen_by: Floats, scored_by: Floats) -> Floats:
    """(trials,) expected score of the best of 1, 2, ... trials drawn from those that ran.

    Args:
        chosen_by: (trials,) the best has the highest value.
        scored_by: (trials,) their scores.
    """
    order = np.argsort(np.asarray(chosen_by, float), kind="stable")
    scores = np.asarray(scored_by, float)[order]
    trials = len(scores)
    place = np.arange(1, trials + 1)
    drawn = place[:, None]
    # The best of n is the i-th smallest if the other n - 1 are among the i - 1 below it.
    weights = special.comb(place - 1, drawn - 1) / special.comb(trials, drawn)
    return weights @ scores
