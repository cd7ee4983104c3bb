"""Analyses the result files of a study; needs neither Ray nor torch."""
