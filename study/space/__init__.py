"""The search space file: its settings, their validation and their reference."""
