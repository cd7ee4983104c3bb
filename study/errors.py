"""Errors of a study that are the fault neither of its user nor of its trials."""

from focusnet.errors import FocusNetError


class Unreachable(FocusNetError):
    """A remote address did not answer as it should, which may pass: the call can be retried."""


class Superseded(Exception):
    """Another attempt at the same trial has begun. Tune retries the trial, as after any crash."""


class RayFailure(Exception):
    """Ray or Tune gave up in the middle of a study; the message is theirs."""
