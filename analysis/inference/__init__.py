"""Statistics: what a study may claim, and simulations that check it (docs/statistics.md).

``pooled_effect`` averages an effect over strata with its uncertainty. ``verdict`` says gain, loss
or no evidence. It rests on ``confirmation`` (the trials with fresh seeds), ``location_counts``
(their right clips) and ``several_seeds`` (interval, p-value, detectable effect). ``single_seed``
describes one training, from which nothing is claimed. ``importance`` is about searched parameters,
``simulation`` makes studies with a known effect.
"""

from focusnet.statistics.pooled import pooled_effect

__all__ = ["pooled_effect"]
