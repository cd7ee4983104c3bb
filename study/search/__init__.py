"""Chooses the next trial: configurations, early stopping, winners, controls, confirmation."""
