"""Which trial comes next: configurations, winners, controls and confirmation, early stopping."""
