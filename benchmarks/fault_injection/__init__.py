"""Runs small studies and injects faults into them, for benchmarks/faults.py."""
