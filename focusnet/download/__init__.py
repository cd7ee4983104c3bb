"""Downloads TAU22, its subset lists and the AudioSet weights: ``python -m focusnet.download``."""
