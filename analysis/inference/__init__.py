"""Statistics: what a study may claim, and simulations that check it (docs/statistics.md).

The formulas are in ``focusnet.statistics``, which a study's driver uses, too. Here ``confirmation``
reads the trials with fresh seeds, ``plan`` the looks at them, and ``comparisons`` says what is
claimed. ``best_of`` compares arms at equal numbers of trials. ``single_seed`` describes one
training, from which nothing is claimed. ``importance`` is about searched parameters; ``simulation``
and ``whole_studies`` make studies with a known effect.
"""

from focusnet.statistics.pooled import pooled_effect

__all__ = ["pooled_effect"]
