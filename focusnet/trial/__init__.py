"""The parts of one trial: its data, both stages, shared templates, results."""
