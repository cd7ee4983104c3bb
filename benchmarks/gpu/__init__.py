"""What ``benchmarks/gpu_probe.py`` measures on a GPU, one function for each item."""
