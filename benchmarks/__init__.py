"""Measurements and endurance runs; each is a command with a summary in its last line."""
