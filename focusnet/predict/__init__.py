"""Classifies audio files with an exported model: ``python -m focusnet.predict``."""
