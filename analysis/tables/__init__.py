"""Predictions, confusions and searched parameters, read from result files."""
