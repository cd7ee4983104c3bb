"""Sends trials to experiment trackers: a run per trial, each epoch once, whatever happens."""
