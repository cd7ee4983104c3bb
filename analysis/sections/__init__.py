"""Builds the sections of the report, a file for each topic."""
