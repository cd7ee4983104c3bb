"""Exports a study's winner as a model or as a teacher: ``python -m focusnet.export``."""
