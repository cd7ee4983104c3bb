"""The space file: its settings, validation and reference, and the space that it describes."""
