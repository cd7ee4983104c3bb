"""Downloads TAU22, its subset lists and AudioSet weights: ``python -m focusnet.download``."""
