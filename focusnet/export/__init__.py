"""Exports the winner of a study, or its logits as a teacher: ``python -m focusnet.export``."""
