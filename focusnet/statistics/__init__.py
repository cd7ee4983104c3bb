"""The study's statistics: effects, verdicts, planned looks, and the surface that names winners.

The driver of a study and its report use the same functions. Nothing here imports torch.
"""
