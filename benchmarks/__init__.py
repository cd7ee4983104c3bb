"""Measures speed (run.py) and checks that studies survive faults (faults.py)."""
