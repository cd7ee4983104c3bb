"""Collects what the page to explore shows of a study."""
