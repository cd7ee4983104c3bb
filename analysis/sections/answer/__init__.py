"""Builds the answer of a report: sentences, tables and figure of what is claimed, and the noise."""
