"""Errors of a study that are no fault of its user or its trials: Tune tries the trial again."""

from focusnet.errors import FocusNetError


class Unreachable(FocusNetError):
    """The address did not answer as it should; it may do so later."""


class Superseded(Exception):
    """Another attempt at the same trial has begun."""
