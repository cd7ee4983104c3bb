"""Files, locks, processes and devices: what any program of this kind needs from its machine."""
