"""Trains one network: batches, loop, objectives, checkpoints, metrics."""
