"""Runs the parts of one trial: data, both stages, shared templates, results."""
