"""Classifies audio files with an exported network: ``python -m focusnet.predict``."""
