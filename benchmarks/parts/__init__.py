"""The parts of benchmarks/run.py, and the baselines and data sets that they use."""
